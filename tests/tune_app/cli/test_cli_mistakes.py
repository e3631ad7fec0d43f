"""What bad input gets: exit code 2, one message with the place and the remedy, no traceback."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

GOOD = "name: x\nfactors: {model.norm: [group]}\n"

MALFORMED = {
    "unknown key": ("name: x\nfactor: {model.norm: [group]}\n", ["`factor`", "did you mean 'factors'"]),
    "wrong type": ("name: x\nbaseline: {epochs: ten}\nfactors: {model.norm: [group]}\n", ["`baseline.epochs`", "'ten'", "whole number"]),
    "impossible depth": (
        "name: x\nbaseline: {model: {depth: 21}}\nfactors: {model.norm: [group]}\n",
        ["`baseline.model.depth` is 21", "6n+2", "8, 14, 20"],
    ),
    "unknown norm": ("name: x\nfactors: {model.norm: [groop]}\n", ["`factors.model.norm`", "'groop'", "did you mean 'group'"]),
    "empty levels": ("name: x\nfactors: {model.norm: []}\n", ["`factors.model.norm`", "at least one"]),
    "a duplicate level": ("name: x\nfactors: {model.norm: [group, group]}\n", ["`factors.model.norm`", "'group' is given twice"]),
    "seeds repeated": (GOOD + "seeds: [1, 2, 1]\n", ["`seeds`", "repeated: 1"]),
    "a path that is no field": ("name: x\nfactors: {model.nrm: [a]}\n", ["`factors.model.nrm`", "did you mean 'model.norm'"]),
    "broken YAML": ("name: x\nfactors: {model.norm: [group\nseeds: 2\n", ["line 3, column", "not valid YAML"]),
    "a missing data folder": (
        GOOD + "baseline: {data: {source: parquet, path: no/such/folder}}\n",
        ["no/such/folder"],
    ),
}  # fmt: skip


def tune_app(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", "from tune_app.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )


@pytest.mark.parametrize("mistake", MALFORMED)
def test_a_malformed_study_gets_one_message_and_exit_code_2(mistake, tmp_path):
    text, expected = MALFORMED[mistake]
    (tmp_path / "study.yaml").write_text(text)
    done = tune_app("run", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    for words in expected:
        assert words in done.stderr
    assert not list((tmp_path / "results").rglob("*.parquet"))
