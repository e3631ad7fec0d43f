"""A sample of the hostile corpus; all of it: `make hostile`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostile import runner
from hostile.corpus import Case, cases

pytestmark = pytest.mark.slow

SAMPLE, SEED = 30, 1


def test_the_corpus_has_hundreds_of_cases_over_the_verbs() -> None:
    every = cases()
    verbs = {case.arguments[0] for case in every}
    assert len(every) >= 300
    assert {"validate", "plan", "report", "compact", "compare", "factorize", "augmentations", "params"} <= verbs
    assert {"status", "logs", "stop", "submit", "landscape", "schema", "studies"} <= verbs


@pytest.mark.timeout(900)
def test_a_sample_breaks_no_rule(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(runner.__file__)), "--sample", str(SAMPLE), "--seed", str(SEED)]
    environment = {**os.environ, "TUNE_APP_DATA": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=880, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SAMPLE} of " in done.stdout


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise ValueError('x')", "exit code 70"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import os; os.write(1, bytes([27]))", "control codes"),
        ("import os; os.kill(os.getpid(), 24)", "s of CPU"),
        ("bytearray(3 * 1024**3)", "exit code 70"),
    ],
)
def test_the_runner_finds_what_breaks_a_rule(
    code: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_app.cli.main", lambda: exec(code))
    problems = runner.run(Case("mutant", ()), tmp_path)
    assert any(problem in each for each in problems)


def test_the_runner_is_content_with_a_user_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_app.cli.main", lambda: sys.exit(2))
    assert runner.run(Case("fine", ()), tmp_path) == []
