"""One trial after the other in one process, step by step: what every executor runs, with Ray or without."""

from __future__ import annotations

import errno
import json
import re
import sys
import time
import traceback
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.config.base import is_reference
from search_spaces.errors import StudyError
from search_spaces.metrics import Metric
from search_spaces.study_parts import ProbeConfig
from tune_app.storage import StorageError
from tune_app.tasks import EpochReport, Task, TrialSetup
from tune_app.tuning.jobs import Job
from tune_app.tuning.store.rows import REPORTED_TABLES
from tune_app.user_code import (
    CodeSource,
    code_folder,
    is_adapter,
    make_importable,
    require_unchanged,
    resolve,
    user_traceback,
)

OUT_OF_MEMORY, UNWRITABLE = "out_of_memory", "unwritable"
_READ_BY_DRIVER = "data.source"
_NO_GPU_MEMORY = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "unable to find an engine to execute this computation",  # cuDNN, whose engines need memory to work in
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a run share. ``report_seconds``: epochs are reported together for at most so long."""

    task: Task
    choose: Metric
    metric: str
    checkpoints: str
    artifacts: str
    checkpoint_seconds: float
    probes: ProbeConfig
    cpus: float
    report_seconds: float
    code: CodeSource
    trial_timeout: float | str | None = None


_DEVICE_ERRORS = re.compile(r"CUDA error|CUDA driver error|device-side assert|cuDNN error|CUBLAS_STATUS_|NCCL error")


def lost_device(error: BaseException) -> bool:
    """Return whether an error says that this process cannot use its GPU any more.

    After most errors of CUDA every further call of the process fails, whatever trial makes it. Running out of memory is
    not among them.
    """
    if not isinstance(error, RuntimeError) or is_out_of_memory(error) or "out of memory" in str(error):
        return False
    return type(error).__name__ == "AcceleratorError" or _DEVICE_ERRORS.search(str(error)) is not None


class CellRunner:
    """Trains one job after another; an error inside a job ends the job, not the process.

    A report with ``device_lost`` says that the process must not train any further job.

    Each report carries the rows of the epochs since the last one, so that the driver can write the store alone. After a
    restart the first report brings all the earlier epochs again, from the checkpoint.
    """

    def __init__(self, shared: Mapping[str, Any], settings: TrialSettings) -> None:
        """Take what the trials share, and let this process import the user's code."""
        self._shared, self.settings = shared, settings
        make_importable(settings.code)
        self._epochs: Iterator[EpochReport] | None = None
        self._left: Iterator[EpochReport] | None = None
        self._failed_import: Exception | None = None

    def begin(self, job: Job) -> None:
        """Take the next job. Its first step closes the one before, which may run the user's code: steps are watched."""
        self._left, self._epochs = self._epochs or self._left, None
        self.job = job
        self._seconds, self._last_epoch = 0.0, 0

    def load(self) -> None:
        """Import the user's code that the job trains with; the first step raises what that raised.

        A process does so when it starts, because its start has a limit of time of its own.
        """
        config = self.job.config
        found = [config.get(path) for path in config.ARGUMENTS if path != _READ_BY_DRIVER]
        try:
            for reference in found:
                if is_reference(reference) and not is_adapter(reference):
                    resolve(reference)
            require_unchanged(self.settings.code)
        except Exception as error:
            self._failed_import = error

    def close(self) -> None:
        """End the training: its ``finally`` blocks run, its memory is released."""
        left, self._left, self._epochs = (self._left, self._epochs), None, None
        for epochs in left:
            if isinstance(epochs, Generator):
                epochs.close()

    def step(self) -> dict[str, Any]:
        """Train until there is something to report, and return the report."""
        try:
            return self._report(self._train())
        except StorageError as error:
            return self.failed(UNWRITABLE, str(error))
        except StudyError as error:
            return self.failed("failed", str(error), final=True)
        except OSError as error:
            if error.errno in _NO_ROOM:
                return self.failed(UNWRITABLE, str(error))
            return self.failed("failed", self._text(error))
        except Exception as error:
            if is_out_of_memory(error):
                return self.failed(OUT_OF_MEMORY)
            return self.failed("failed", self._text(error)) | {"device_lost": lost_device(error)}

    def failed(self, status: str, error: str = "", final: bool = False) -> dict[str, Any]:
        """Return the report of an error; ``final`` says that another attempt would meet it again."""
        self.close()
        return {
            "epoch": self._last_epoch,
            "epochs": [],
            **{table: [] for table in REPORTED_TABLES},
            "status": status,
            "trial": {"error": error, "seconds": self._seconds},
            "final": final,
            "done": True,
        }

    def _text(self, error: Exception) -> str:
        source = self.settings.code
        return user_traceback(error, [code_folder(source), source.root]) if source.root else traceback.format_exc()

    def _start(self) -> Iterator[EpochReport]:
        job, settings = self.job, self.settings
        name = f"{job.digest}-{job.fingerprint}"
        setup = TrialSetup(
            cpus=settings.cpus,
            gpus=job.gpus,
            checkpoints=f"{settings.checkpoints}/{name}",
            checkpoint_seconds=settings.checkpoint_seconds,
            choose=settings.choose,
            metric=settings.metric,
            probes=settings.probes,
            artifacts=f"{settings.artifacts}/{name}",
        )
        return settings.task.train(job.config, self._shared, setup)

    def _train(self) -> list[EpochReport]:
        if (error := self._failed_import) is not None:
            if not isinstance(error, StudyError):  # a StudyError holds for all trials of this process
                self._failed_import = None
            raise error
        if self._epochs is None:
            self.close()
            self._epochs = self._start()
        began = time.monotonic()
        done: list[EpochReport] = []
        while not done or (done[-1].status == "running" and time.monotonic() - began < self.settings.report_seconds):
            done.append(next(self._epochs))
        return done

    def _report(self, epochs: list[EpochReport]) -> dict[str, Any]:
        last = epochs[-1]
        self._last_epoch = last.epoch
        self._seconds += sum(epoch.seconds for epoch in epochs)
        columns = {name: value for epoch in epochs for name, value in epoch.columns.items()}
        if "artifacts" in columns:
            columns["artifacts"] = json.dumps(columns["artifacts"])
        report: dict[str, Any] = {
            "epoch": last.epoch,
            "epochs": [dict(epoch.row) for epoch in epochs],
            **{table: [row for epoch in epochs for row in epoch.tables.get(table, ())] for table in REPORTED_TABLES},
            "status": last.status,
            "trial": {**columns, "best_epoch": last.best_epoch, "seconds": self._seconds},
            "done": last.status != "running",
        }
        awaits_final = last.status == "running" and last.epoch >= self.job.config.epochs
        if last.status != "diverged" and not awaits_final:  # ASHA must not stop a trial that is about to end
            report["objective"] = last.row[self.settings.choose.name]
        if report["done"]:
            self.close()
        return report


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a GPU had too little memory; this module does not import torch, the training does.

    Torch's allocator raises an error type of its own. CUDA itself and its libraries, which allocate beside it, raise
    other runtime errors that say so.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_GPU_MEMORY)
