"""The driver does without torch: its processes are quicker to start and hundreds of megabytes smaller."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tune_app.studies import read_study
from tune_app.tuning.runner import run_study

pytestmark = pytest.mark.slow

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from tune_app.cli import main
main()
"""
STUDY = ["quickstart", "--set", "seeds=2", "--set", "baseline.epochs=1", "--set", "factors={model.norm: [batch]}"]


def blocked(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process that cannot import torch."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments], capture_output=True, text=True, check=False, timeout=250
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    run_study(read_study(STUDY[0], None, STUDY[2::2]), str(folder), executor="inline")
    return folder


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (["plan", *STUDY], "4 cells, 4 done, 0 to train"),
        (["run", *STUDY], "nothing to train; 4 were done before"),
        (["report", *STUDY], "report: "),
    ],
)
def test_verbs_on_a_finished_study_do_not_import_torch(results: Path, verb: list[str], expected: str) -> None:
    done = blocked(*verb, "--results", str(results))
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_a_driver_without_torch_names_the_arm_whose_network_cannot_be_built(tmp_path: Path) -> None:
    wrong = ["--set", "baseline.model.norm_groups=7", "--set", "factors={model.norm: [group]}"]
    done = blocked("run", *STUDY[:-2], *wrong, "--results", str(tmp_path))
    assert done.returncode == 2, done.stdout
    assert "arm 'norm=group' cannot be built" in done.stderr + done.stdout


@pytest.mark.ray
def test_a_driver_without_torch_trains_on_ray(tmp_path: Path, results: Path) -> None:
    done = blocked("run", *STUDY, "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "trained 4 (4 completed)" in done.stdout
