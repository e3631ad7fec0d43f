"""The Trainable: Ray's wrapping of `fit`. A step is an epoch, or several short ones where none is stopped early."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from ray import tune

from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError
from search_spaces.study import ProbeConfig
from tune_app.data import ImageArrays, source_key
from tune_app.models import build_model
from tune_app.storage import StorageError
from tune_app.training import (
    EpochMetrics,
    Probes,
    fit,
    keep_freed_memory,
    resolve_device,
    resolve_precision,
    set_threads,
)
from tune_app.tuning.jobs import Job

OUT_OF_MEMORY, UNWRITABLE = "out_of_memory", "unwritable"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a run share."""

    checkpoints: str
    checkpoint_seconds: float
    probes: ProbeConfig
    cpus: float
    objective: str
    report_seconds: float


class CellTrainable(tune.Trainable):
    """Trains one job after another in one process; an error inside a job ends the job, not the process.

    Each report carries the rows of the epochs since the last one, so that the driver can write the store alone. After a
    restart the first report brings all the earlier epochs again, from the checkpoint.
    """

    _epochs: Iterator[EpochMetrics] | None

    def setup(
        self, config: dict[str, Any], sources: Mapping[str, ImageArrays] | None = None, settings: Any = None
    ) -> None:
        """Take the shared data and settings, and begin the first job."""
        assert sources is not None
        assert settings is not None
        self._sources, self._settings = sources, settings
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another job in this process, which saves a process start and the imports."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train until there is something to report."""
        try:
            return self._report(self._train())
        except torch.OutOfMemoryError:
            return self._failed(OUT_OF_MEMORY)
        except StorageError as error:
            return self._failed(UNWRITABLE, str(error))
        except StudyError as error:
            return self._failed("failed", str(error), final=True)
        except OSError as error:
            if error.errno in _NO_ROOM:
                return self._failed(UNWRITABLE, str(error))
            return self._failed("failed", traceback.format_exc())
        except Exception:
            return self._failed("failed", traceback.format_exc())

    def cleanup(self) -> None:
        """Let the model and its memory go."""
        self._epochs = None

    def _begin(self, config: dict[str, Any]) -> None:
        self._job = Job.from_json(config["job"])
        self._epochs = None
        self._seconds = 0.0
        self._last_epoch = 0

    def _start(self) -> Iterator[EpochMetrics]:
        job, settings = self._job, self._settings
        set_threads(max(1, int(settings.cpus)))
        keep_freed_memory()
        self._device = resolve_device("auto" if job.gpus else "cpu")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(min(1.0, job.gpus))
        return fit(
            job.config,
            self._sources[source_key(job.config.data)],
            device=self._device,
            checkpoints=f"{settings.checkpoints}/{job.digest}-{job.fingerprint}",
            checkpoint_seconds=settings.checkpoint_seconds,
            probes=Probes(**settings.probes.model_dump()),
        )

    def _train(self) -> list[EpochMetrics]:
        if self._epochs is None:
            self._epochs = self._start()
        began = time.monotonic()
        done: list[EpochMetrics] = []
        while not done or (done[-1].status == "running" and time.monotonic() - began < self._settings.report_seconds):
            done.append(next(self._epochs))
        return done

    def _report(self, epochs: list[EpochMetrics]) -> dict[str, Any]:
        last = epochs[-1]
        self._last_epoch = last.epoch
        self._seconds += sum(epoch.seconds for epoch in epochs)
        report: dict[str, Any] = {
            "epoch": last.epoch,
            "epochs": [epoch.to_row() for epoch in epochs],
            "quantiles": [
                {"epoch": epoch.epoch, "layer": row.layer, "percentile": row.percentile, "value": row.value}
                for epoch in epochs
                for row in epoch.quantiles
            ],
            "status": last.status,
            "trial": self._trial_columns(last),
            "done": last.status != "running",
        }
        split, metric = self._settings.objective.split("_", 1)
        if last.status != "diverged":
            report["objective"] = getattr(getattr(last, split), metric)
        return report

    def _trial_columns(self, last: EpochMetrics) -> dict[str, Any]:
        columns: dict[str, Any] = {
            "best_epoch": last.best_epoch,
            "seconds": self._seconds,
            "device": self._device.type,
            "device_name": device_name(self._device),
            "precision": resolve_precision(self._job.config.precision, self._device),
        }
        if last.test is not None:
            test = last.test
            columns |= {
                "test_loss": test.loss,
                "test_accuracy": test.accuracy,
                "test_f1_micro": test.f1_micro,
                "test_f1_macro": test.f1_macro,
                "test_confusion": list(test.confusion or ()),
            }
        if last.status != "running":
            arrays = self._sources[source_key(self._job.config.data)]
            columns |= {"classes": list(arrays.classes), "parameters": parameter_count(self._job.config, arrays)}
        return columns

    def _failed(self, status: str, error: str = "", final: bool = False) -> dict[str, Any]:
        """Return the report of an error; ``final`` says that another attempt would meet it again."""
        return {
            "epoch": self._last_epoch,
            "epochs": [],
            "quantiles": [],
            "status": status,
            "trial": {"error": error, "seconds": self._seconds},
            "final": final,
            "done": True,
        }


def parameter_count(config: TrialConfig, arrays: ImageArrays) -> int:
    """Return the number of trainable parameters, without allocating them."""
    resolution = config.data.resolution or arrays.train_images.shape[1]
    with torch.device("meta"):
        model = build_model(config.model, arrays.train_images.shape[3], len(arrays.classes), resolution)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def device_name(device: torch.device) -> str:
    """Return the device's own name, such as "NVIDIA H200" or the processor's."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()
