"""The studies and names in README.md and pages of docs are those of the code."""

import re
from pathlib import Path

import pytest

from search_spaces._yaml import parse_yaml
from search_spaces.study import StudySpec
from search_spaces.study_files import checked_study
from search_spaces.study_parts import MetricSpec
from tune_app import Context
from tune_app.cli import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "own-training.md").read_text(encoding="utf-8")
TUNED = (ROOT / "docs" / "tuned-ablation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", README + PAGE + TUNED, re.DOTALL)


@pytest.mark.parametrize("text", [text for text in BLOCKS if re.search(r"^name:", text, re.MULTILINE)])
def test_complete_studies_on_the_pages_are_valid(text, tmp_path):
    assert checked_study(parse_yaml(text, "the page"), tmp_path).factors


@pytest.mark.parametrize("text", [text for text in BLOCKS if not re.search(r"^name:", text, re.MULTILINE)])
def test_fragments_on_the_pages_have_keys_of_a_study(text):
    assert set(parse_yaml(text, "the page")) <= set(StudySpec.model_fields)


def test_the_page_names_all_of_the_context_and_of_a_metric():
    context = {name for name in vars(Context) if not name.startswith("_")} | {
        "device",
        "epochs",
        "seed",
        "cpus",
        "gpus",
    }
    assert {name for name in context if f"`context.{name}" not in PAGE} == set()
    assert {name for name in MetricSpec.model_fields if f"| `{name}` |" not in PAGE} == set()


def test_the_readme_names_every_verb():
    verbs = {command.callback.__name__.rstrip("_") for command in app.registered_commands}
    verbs |= {group.name for group in app.registered_groups}
    assert {verb for verb in verbs if f"`{verb}`" not in README} == set()


@pytest.mark.parametrize(
    "page", ["README.md", "docs/own-training.md", "docs/architecture.md", "docs/extending.md", "docs/tuned-ablation.md"]
)
def test_links_to_files_of_the_repository_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)]
    assert {link for link in links if not ((ROOT / page).parent / link).exists()} == set()
