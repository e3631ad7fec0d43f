"""The command line as a process of its own, to be killed; and what its store holds, to be compared."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import yaml

from analysis import load_study
from search_spaces.plan import make_plan
from search_spaces.store_schema import METRIC_NAMES, METRICS
from search_spaces.study_files import study_from
from tests.support.processes import wait_until  # noqa: F401  (tests take it from here)
from tune_app.data import load_source
from tune_app.training import fit, set_threads

CLI = [sys.executable, "-c", "from tune_app.cli import main; main()"]
TINY = {
    "data": {"source": "digits", "train_size": 40, "validation_size": 40, "test_size": 40},
    "model": {"depth": 8, "width": 4},
    "batch_size": 20,
    "epochs": 2,
    "precision": "float32",
}


def study(name="tiny", epochs=2, seeds=3, **changes):
    tree = {
        "name": name,
        "baseline": TINY | {"epochs": epochs},
        "factors": {"model.norm": ["batch", "none"]},
        "seeds": seeds,
        "checkpoint_seconds": 0,
        "resources": {"gpu": 0.0},
    }
    return tree | changes


class Driver:
    """One `tune-app run`, in its own process group and with Ray's files in a folder of its own."""

    def __init__(self, tree, folder, *options, environment=None):
        self.file = Path(folder) / f"{tree['name']}.yaml"
        self.file.write_text(yaml.safe_dump(tree))
        self.ray = Path(tempfile.mkdtemp(prefix="rf", dir="/tmp"))  # Ray's socket paths must stay short
        self.out = self.ray / "out"
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_M"))}
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [*CLI, "run", str(self.file), *(options or ("--results", str(folder)))],
                env=plain | {"RAY_TMPDIR": str(self.ray), "OMP_NUM_THREADS": "1"} | (environment or {}),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self):
        self.process.kill()
        self.process.wait()

    def interrupt(self):
        """Send what a terminal sends on Ctrl-C: SIGINT to the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, seconds=150):
        return self.process.wait(timeout=seconds), self.out.read_text()

    def family(self):
        """Return the processes whose Ray lives in this driver's folder: it and all that Ray started for it."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("RAY_TMPDIR") == str(self.ray):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def end(self):
        for process in self.family():
            with suppress(psutil.NoSuchProcess):  # ended since
                process.kill()
        self.process.wait()
        shutil.rmtree(self.ray, ignore_errors=True)


@contextmanager
def driver(*arguments, **options) -> Iterator[Driver]:
    made = Driver(*arguments, **options)
    try:
        yield made
    finally:
        made.end()


def figures(row):
    return {name: row[name] for name in METRIC_NAMES} | {"best_epoch": row["best_epoch"], "status": row["status"]}


def undisturbed(tree):
    """Return digest -> figures of every cell, each trained by `fit` alone in this process on one thread."""
    set_threads(1)
    found = {}
    for cell in make_plan(study_from(tree)).cells:
        epochs = list(fit(cell.config, load_source(cell.config.data)))
        last = epochs[-1]
        best = epochs[last.best_epoch - 1]
        found[cell.digest] = {
            f"{name}_{metric}": getattr(getattr(end, name), metric)
            for name, end in (("train", best), ("val", best), ("test", last))
            for metric in METRICS
        } | {"best_epoch": last.best_epoch, "status": last.status}
    return found


def stored(folder):
    """Return digest -> figures of a store; every cell must be there once, with nothing unfinished lying about."""
    results = load_study(folder)
    assert results.problems == ()
    assert not list(Path(folder).rglob("*.tmp"))
    assert results.trials.digest.is_unique
    assert not results.epochs.duplicated(["digest", "epoch"]).any()
    return {row["digest"]: figures(row) for row in results.trials.to_dict("records")}


def finished_at(folder):
    """Return when each trial in a store ended, but for failed ones, which are trained again; nothing where there is no store."""
    if not (Path(folder) / "trials").exists():
        return {}
    trials = load_study(folder).trials
    return dict(trials[trials.status != "failed"].set_index("digest").finished_at)
