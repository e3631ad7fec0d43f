"""How long a user waits: until the first trial has ended, for a run of quickstart, for a verb, each as a new process.

The floor of the first trial is a script that starts Ray with its default processes and lets one actor import torch. The
floor of quickstart is that and its trainings in one process, divided by the number of cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from analysis import load_study

ROUNDS = 3
FLOOR = """
import ray
ray.init(address="local", include_dashboard=False, log_to_driver=False)

@ray.remote(num_cpus=1)
class Actor:
    def import_torch(self):
        import torch

ray.get(Actor.remote().import_torch.remote())
"""
TRAIN = """
from tune_app.data import load_source
from tune_app.studies import read_study
from search_spaces.plan import make_plan
from tune_app.training import fit, set_threads
import time
set_threads(1)
began = time.perf_counter()
for cell in make_plan(read_study("quickstart", None, ())).cells:
    list(fit(cell.config, load_source(cell.config.data)))
print(time.perf_counter() - began)
"""
TINY = {
    "name": "tiny",
    "baseline": {"data": {"source": "digits", "train_size": 512}, "model": {"depth": 8}, "epochs": 1},
    "factors": {"model.norm": ["batch", "group"]},
    "seeds": 3,
}
"""Six trials of about 0.1 s."""
VERBS = {
    "help": ("--help",),
    "typo": ("runn", "quickstart"),
    "plan": ("plan", "quickstart"),
    "run_again": ("run", "quickstart"),
    "report": ("report", "quickstart"),
}
"""With a finished quickstart in the store."""


def measure() -> dict[str, float]:
    """Return medians of interleaved rounds, in seconds, and their ratios to the floors."""
    rounds = [_round() for _ in range(ROUNDS)]
    found = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    ideal = found["start.floor"] + found["start.quickstart_trainings"] / (os.cpu_count() or 1)
    return found | {
        "start.first_trial_over_floor": found["start.first_trial"] / found["start.floor"],
        "start.quickstart_over_ideal": found["start.quickstart"] / ideal,
    }


def _round() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
        found = {"start.floor": _seconds([sys.executable, "-c", FLOOR], folder)}
        began = time.time()
        found["start.tiny"] = _seconds(_cli("run", "tiny.yaml"), folder)
        ended = load_study(str(folder / "results" / "tiny")).trials["finished_at"].min()
        found["start.first_trial"] = ended.timestamp() - began
        found["start.quickstart"] = _seconds(_cli("run", "quickstart"), folder)
        trained = subprocess.run(
            [sys.executable, "-c", TRAIN], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        )
        found["start.quickstart_trainings"] = float(trained.stdout)
        return found | {
            f"start.{verb}": _seconds(_cli(*words), folder, is_mistake=verb == "typo") for verb, words in VERBS.items()
        }


def _cli(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tune_app.cli", *arguments]


def _seconds(command: list[str], folder: Path, is_mistake: bool = False) -> float:
    """Return how long a command takes. Raises CalledProcessError where it fails, unless it ``is_mistake``."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=not is_mistake)
    return time.perf_counter() - began
