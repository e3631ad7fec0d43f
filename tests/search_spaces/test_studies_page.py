from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import get_args

import pytest

from search_spaces import CATALOG, study_from
from search_spaces._yaml import parse_yaml
from search_spaces.config.trial import field_paths
from search_spaces.study import StudySpec
from search_spaces.study_parts import DesignKind

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "studies.md").read_text(encoding="utf-8")
EXAMPLES = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if text.startswith("name:")]


def writer():
    spec = importlib.util.spec_from_file_location("studies_reference", DOCS / "studies_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_records():
    # To update the page: python docs/studies_reference.py
    assert writer().START + writer().tables() + writer().END in PAGE


@pytest.mark.parametrize("path", [*field_paths(), *StudySpec.model_fields, *CATALOG, *get_args(DesignKind)])
def test_every_key_and_name_is_on_the_page(path):
    assert f"`{path}`" in PAGE


@pytest.mark.parametrize("text", EXAMPLES)
def test_whole_examples_are_right(text):
    assert study_from(parse_yaml(text, "docs")).name


def test_there_are_whole_examples():
    assert len(EXAMPLES) == 2
