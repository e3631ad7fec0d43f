"""One run of a user's training function, in the process that trains."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from time import monotonic
from typing import Any

import torch

from search_spaces.config.function import FunctionConfig
from search_spaces.errors import StudyError, nearest
from search_spaces.metrics import require_direction, split_of
from tune_app.signatures import call
from tune_app.storage import BEST, LAST
from tune_app.tasks.base import NO_DATA, EpochReport, TrialSetup
from tune_app.tasks.context import Context, Final, split_metrics
from tune_app.training.checkpoints import CheckpointFolder, CorruptCheckpoint, read_checkpoint
from tune_app.training.hardware import device_name, limit_memory, resolve_device
from tune_app.training.seeding import GlobalStreams
from tune_app.user_code import resolve

_log = logging.getLogger(__name__)
NOTED_LINES = 20
"""Lines of the log that go with an error."""


class FunctionRun:
    """One run of a training function: its context, random streams, history, best epoch and checkpoints."""

    def __init__(self, config: FunctionConfig, setup: TrialSetup) -> None:
        self._config, self._setup = config, setup
        self._device = resolve_device("auto" if setup.gpus else "cpu")
        limit_memory(self._device, setup.gpus)
        self._folder = CheckpointFolder(setup.checkpoints, config.digest(), NO_DATA)
        self._streams = GlobalStreams(config.seed, self._device, strict=False)
        self._context = Context(config.epochs, config.seed, setup, self._folder)
        self._context._streams = self._streams
        self._history: list[dict[str, Any]] = []
        self._best: dict[str, Any] | None = None
        self._generator: Generator[Mapping[str, Any], None, Any] | None = None
        self._written_at, self._written_best, self._has_written = -math.inf, 0, False

    def reports(self) -> Iterator[EpochReport]:
        """Yield a report for each epoch, and one more with the final figures."""
        payload = self._folder.read_last(torch.device("cpu"))
        if payload is not None and self._same_device(payload):
            self._history, self._best = payload["history"], payload["best"]
            self._context._payload, self._context._best = payload, payload["best"]
            self._context.lines.extend(payload.get("lines", ()))
            self._context.written.extend(payload.get("artifacts", ()))
            for row in list(self._history):
                yield self._report(row)
        function = resolve(self._config.run)  # imports the user's modules, which is not training time
        began = monotonic()
        returned = self._start(function)
        if isinstance(returned, Mapping):
            yield from self._single(returned, monotonic() - began)
            return
        while True:
            found = self._next()
            seconds, began = monotonic() - began, monotonic()
            if found is None or isinstance(found, Final):
                yield self._ended(found or {}, seconds)
                return
            report = self._epoch(found, seconds)
            yield report
            if report.status == "diverged":
                return
            began = monotonic()

    def _same_device(self, payload: Mapping[str, Any]) -> bool:
        """Return whether a checkpoint is of this device type; one that does not name its type counts as such."""
        found = payload.get("device", self._device.type)
        if found != self._device.type:
            _log.warning(
                "the checkpoint was trained on %s, but this process trains on %s; training starts from the first epoch "
                "and replaces it",
                *(found, self._device.type),
            )
        return bool(found == self._device.type)

    def note_lines(self, error: BaseException) -> None:
        """Add the last lines of the log to an error: no report will bring them."""
        if self._context.lines:
            error.add_note("\n".join(["The last lines of context.log:", *list(self._context.lines)[-NOTED_LINES:]]))

    def close(self) -> None:
        """End the function: its ``finally`` blocks run."""
        if self._generator is not None:
            with self._streams.active():
                self._generator.close()

    def _start(self, function: Callable[..., Any]) -> Mapping[str, Any] | None:
        """Call the function; return what it returned where that is one mapping, else keep its generator."""
        with self._streams.active():
            returned = call(function, self._config.args, self._context)
        if isinstance(returned, Mapping):
            return returned
        if not isinstance(returned, Generator):
            raise StudyError(
                f"`task.run` {self._config.run} returned a {type(returned).__name__}, but must be a generator that "
                "yields a mapping of metrics for each epoch, or return one such mapping"
            )
        self._generator = returned
        return None

    def _next(self) -> Mapping[str, Any] | None:
        """Return what the function yields next, None where it has ended."""
        assert self._generator is not None
        with self._streams.active():
            try:
                found = next(self._generator)
            except StopIteration:
                return None
        if not isinstance(found, Mapping):
            raise StudyError(
                f"`task.run` {self._config.run} yielded a {type(found).__name__}, but must yield a mapping of metrics: "
                'yield {"val_loss": loss}'
            )
        return found

    def _single(self, found: Mapping[str, Any], seconds: float) -> Iterator[EpochReport]:
        """Take a mapping that was returned as one epoch and the final figures."""
        numbers = split_metrics(found, is_final=True)
        final = Final({name: v for name, v in numbers.items() if split_of(name) == "test" or name == "parameters"})
        report = self._epoch({name: value for name, value in numbers.items() if name not in final}, seconds)
        yield report
        if report.status == "running":
            yield self._ended(final, 0.0)

    def _epoch(self, found: Mapping[str, Any], seconds: float) -> EpochReport:
        """Take in an epoch: history, best epoch, checkpoint."""
        numbers = split_metrics(found, is_final=False)
        epoch, choose = len(self._history) + 1, self._setup.choose
        if epoch > self._config.epochs:
            raise StudyError(
                f"`task.run` {self._config.run} yielded more than the {self._config.epochs} epochs of the study; "
                "use context.epochs, or raise `epochs`"
            )
        self._require(choose.name, numbers, f"epoch {epoch}")
        self._check_epoch(numbers.pop("epoch", epoch), epoch)
        row = {"epoch": epoch, **numbers, "seconds": seconds}
        self._history.append(row)
        if not math.isfinite(numbers[choose.name]):
            return self._report(row, status="diverged")
        sign = 1 if require_direction(choose) else -1
        if self._best is None or sign * numbers[choose.name] > sign * self._best["value"]:
            self._best = {"epoch": epoch, "value": numbers[choose.name], "states": self._context.states()}
            self._context._best = self._best
        self._context._last, self._context._is_written = None, False
        self._checkpoint(last=epoch == self._config.epochs)
        return self._report(row)

    def _require(self, name: str, numbers: Mapping[str, float], place: str) -> None:
        if name not in numbers:
            given = ", ".join(numbers) or "nothing"
            raise StudyError(
                f"`task.run` {self._config.run} yielded {given} in {place}, but the study needs {name!r} there"
                f"{nearest(name, numbers)}"
            )

    def _check_epoch(self, given: float, epoch: int) -> None:
        if given != epoch:
            raise StudyError(
                f"`task.run` {self._config.run} yielded 'epoch' as {given:g}, but this is epoch {epoch}: epochs are "
                "counted from 1; leave it out"
            )

    def _ended(self, found: Mapping[str, Any], seconds: float) -> EpochReport:
        """Return the report with the final figures, which repeats the last epoch."""
        if not self._history:
            raise StudyError(f"`task.run` {self._config.run} ended before it yielded an epoch")
        numbers: dict[str, Any] = dict(split_metrics(found, is_final=True))
        last = len(self._history)
        self._check_epoch(numbers.pop("epoch", last), last)
        if split_of(self._setup.metric) == "test":
            self._require(self._setup.metric, numbers, "context.final")
        if "parameters" in numbers:
            numbers["parameters"] = int(numbers["parameters"])
        if not self._context._is_written:  # it ended before the last epoch of the study
            self._checkpoint(last=True)
        return self._report(self._history[-1], status="completed", columns=numbers, seconds=seconds)

    def _report(
        self,
        row: Mapping[str, Any],
        status: Any = "running",
        columns: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> EpochReport:
        fixed: dict[str, Any] = {"device": self._device.type, "device_name": device_name(self._device)}
        if self._context.written:
            fixed["artifacts"] = list(self._context.written)
        if self._context.lines:
            fixed["log_lines"] = "\n".join(self._context.lines)
        best = self._best["epoch"] if self._best is not None else None
        return EpochReport(
            epoch=row["epoch"],
            row=row,
            status=status,
            best_epoch=None if best is None else min(best, row["epoch"]) if status == "running" else best,
            seconds=row["seconds"] if seconds is None else seconds,
            columns=fixed | dict(columns or {}),
        )

    def _checkpoint(self, last: bool) -> None:
        """Write the state of everything registered, where enough time has passed or the last epoch is trained."""
        if not self._context._registered:
            return
        if not last and monotonic() - self._written_at < self._setup.checkpoint_seconds:
            return
        assert self._best is not None
        if self._best["epoch"] != self._written_best:
            self._folder.write(BEST, {"config": self._config.model_dump(mode="json"), **self._best})
        payload = {
            "config": self._config.model_dump(mode="json"),
            "history": self._history,
            "device": self._device.type,
            "states": self._context._last or self._context.states(),
            "streams": self._streams.state,
            "best": self._best,
            "lines": list(self._context.lines),
            "artifacts": list(self._context.written),
        }
        self._folder.write(LAST, payload)
        if not self._has_written:
            self._check_readable()
        self._written_at, self._written_best, self._has_written = monotonic(), self._best["epoch"], True
        self._context._last, self._context._is_written = None, True

    def _check_readable(self) -> None:
        """Refuse a state that cannot be read back: only tensors and plain data can."""
        try:
            read_checkpoint(self._setup.checkpoints, LAST, torch.device("cpu"))
        except CorruptCheckpoint as error:
            names = ", ".join(sorted(self._context._registered))
            raise StudyError(
                f"the state of what was registered ({names}) cannot be restored: a state_dict may hold tensors, "
                f"numbers, text, lists and mappings only ({str(error).splitlines()[0]})"
            ) from None
