"""The Trainable: Ray's wrapping of a trial. A step is an epoch, or several short ones where none is stopped early."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from tune_app.tuning.cell import CellRunner
from tune_app.tuning.jobs import Job

GATE_SECONDS = 50.0
"""How long the first trial of a worker waits for the other workers to be up: less than `watchdog.START_SECONDS`."""


class DeviceLostError(RuntimeError):
    """A process that cannot use its GPU any more."""


class CellTrainable(tune.Trainable):
    """Trains one job after another in one process, which saves process starts and imports."""

    _lost = ""
    """What CUDA said when this process lost its GPU."""

    def setup(
        self,
        config: dict[str, Any],
        shared: Mapping[str, Any] | None = None,
        settings: Any = None,
        gate: tuple[str, int] | None = None,
    ) -> None:
        """Take what the trials share, begin the first job, and import the user's code for it.

        ``gate``: a folder and the number of workers that should be up before the first step.
        """
        assert shared is not None
        assert settings is not None
        self._runner, self._gate = self._make_runner(shared, settings), gate
        self._runner.begin(Job.from_json(config["job"]))
        self._runner.load()
        if gate is not None:
            _note_that_up(Path(gate[0]))

    def _make_runner(self, shared: Mapping[str, Any], settings: Any) -> CellRunner:
        return CellRunner(shared, settings)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another job in this process."""
        self._runner.begin(Job.from_json(new_config["job"]))
        return True

    def step(self) -> dict[str, Any]:
        """Train until there is something to report.

        A lost GPU is reported first, with its text, and raised by the next step: Ray gives a process whose step raised
        no further trial and starts this one again in another.
        """
        if self._lost:
            raise DeviceLostError(self._lost)
        self._wait_for_workers()
        report = self._runner.step()
        if report.get("device_lost"):
            self._lost = report["trial"]["error"]
            report["done"] = False
        return report

    def cleanup(self) -> None:
        """Close the training and release its memory."""
        self._runner.close()

    def _wait_for_workers(self) -> None:
        """Wait, once, until all workers are up.

        Ray Tune gives a reused worker the trial for which another worker is starting, and then ends the starting one.
        So trials that are shorter than a worker's start would all run in the first worker, one after the other.
        """
        if self._gate is None:
            return
        (folder, workers), self._gate = self._gate, None
        end = time.monotonic() + GATE_SECONDS
        while _number_up(Path(folder)) < workers and time.monotonic() < end:
            time.sleep(0.02)


def _note_that_up(folder: Path) -> None:
    """Note that this worker is up. Where that cannot be noted, remove the folder: then nobody waits for anybody."""
    try:
        (folder / str(os.getpid())).touch()
    except OSError:  # a full disk, which the trial itself reports
        shutil.rmtree(folder, ignore_errors=True)


def _number_up(folder: Path) -> float:
    try:
        return len(list(folder.iterdir()))
    except FileNotFoundError:
        return math.inf
