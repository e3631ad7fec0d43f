"""What this machine measured in earlier runs, and the time of a run estimated from that.

A run takes its start-up (data, Ray, workers) and then its trials side by side, each for its training and a little more.
Every run that ends in order adds what it measured to ``speeds.json`` in the cache folder (``$TUNE_APP_DATA``, or
``~/.cache/tune-app``): the seconds of an epoch for each shape of trial, and start-up and cost per trial for each
executor. The file is a cache: without it estimates come from the study's own store, or from a few steps.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from search_spaces.errors import StudyError
from tune_app.cache_folder import cache_folder
from tune_app.machine import gpu_names, processor_name
from tune_app.storage import Folder

SPEEDS_FILE = "speeds.json"
VERSION = 1
KEPT = 5
"""The last measurements of each kind that are kept; estimates take their median."""
MAX_SHAPES = 2000
RAY = "RayExecutor"
"""The executor of `run` without options, under which its start-up is kept."""
STARTUP_SECONDS = {RAY: 12.0}
"""Start-up of an executor that this machine has not measured yet."""


@dataclass
class Speeds:
    """Measurements of one machine, the latest last: by shape of trial, and by executor."""

    epochs: dict[str, list[float]] = field(default_factory=dict)
    startups: dict[str, list[float]] = field(default_factory=dict)
    per_trial: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Self:
        """Return what this machine measured; nothing where there is no file, or none that can be read."""
        try:
            found = json.loads(_folder().read(SPEEDS_FILE))[_machine()]
            return cls(*({str(k): [float(x) for x in v][-KEPT:] for k, v in found[name].items()} for name in _NAMES))
        except (OSError, StudyError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def write(self) -> None:
        """Write the measurements beside those of other machines; not at all where the cache cannot be written."""
        try:
            folder = _folder()
            everything = _documents(folder)
            everything[_machine()] = {name: getattr(self, name) for name in _NAMES}
            folder.write(SPEEDS_FILE, json.dumps(everything).encode())
        except (OSError, StudyError):
            return

    def epoch_seconds(self, shape: str) -> float | None:
        """Return the seconds of an epoch of trials of a shape (`shape_key`); None if none was measured."""
        return _median(self.epochs.get(shape))

    def add_epochs(self, shape: str, seconds: float) -> None:
        """Add a measurement of an epoch; the shapes that were not measured for longest are removed."""
        latest = self.epochs.pop(shape, [])
        self.epochs[shape] = [*latest, seconds][-KEPT:]
        while len(self.epochs) > MAX_SHAPES:
            del self.epochs[next(iter(self.epochs))]

    def startup(self, executor: str) -> float:
        """Return the seconds from the beginning of a run until its first trial trains."""
        return _median(self.startups.get(executor)) or STARTUP_SECONDS.get(executor, 0.0)

    def trial_seconds(self, executor: str) -> float:
        """Return the seconds of a slot that a trial takes beside its training."""
        return _median(self.per_trial.get(executor)) or 0.0

    def add_run(self, executor: str, startup: float, per_trial: float) -> None:
        """Add what a run measured of its executor."""
        self.startups[executor] = [*self.startups.get(executor, []), startup][-KEPT:]
        self.per_trial[executor] = [*self.per_trial.get(executor, []), per_trial][-KEPT:]

    def run_seconds(self, executor: str, trials: Iterable[float], slots: int) -> float:
        """Return the seconds of a run of trials that train this long, ``slots`` of them side by side."""
        more = self.trial_seconds(executor)
        return self.startup(executor) + makespan((seconds + more for seconds in trials), slots)


_NAMES = ("epochs", "startups", "per_trial")


def makespan(seconds: Iterable[float], slots: int) -> float:
    """Return when the last of these trials ends if each takes the first free slot, in order."""
    free = [0.0] * slots
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def cost_per_trial(span: float, trials: list[float], slots: int) -> float:
    """Return the seconds of a slot that each trial took beside its training, from the time of all of them."""
    rounds = -(-len(trials) // slots)
    return max(0.0, (span - makespan(trials, slots)) / rounds)


def shape_key(shape: str, cpus: float, gpus: float) -> str:
    """Return the name under which the speed of a shape of trial is kept: it depends on the trial's resources."""
    return hashlib.sha256(f"{shape} {cpus:g} {gpus:g}".encode()).hexdigest()[:16]


def _median(values: list[float] | None) -> float | None:
    return statistics.median(values) if values else None


def _machine() -> str:
    return ", ".join([processor_name(), f"{os.cpu_count()} CPUs", *gpu_names()])


def _folder() -> Folder:
    return Folder(str(cache_folder()))


def _documents(folder: Folder) -> dict[str, Mapping[str, Any]]:
    try:
        found = json.loads(folder.read(SPEEDS_FILE))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
