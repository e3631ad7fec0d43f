"""What a task is to the rest of the program: data, a name for the data, and a generator of epoch reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from search_spaces.config.base import Config
from search_spaces.metrics import Metric
from search_spaces.study import StudySpec
from search_spaces.study_parts import ProbeConfig
from tune_app.user_code import CodeSource

EpochStatus = Literal["running", "completed", "diverged"]

NO_DATA = "0" * 16
"""The fingerprint of data that only a training function knows: its code and arguments say what it reads."""


@dataclass(frozen=True)
class TrialSetup:
    """What one trial is given beside its config.

    ``checkpoints`` is a folder or fsspec URL of the trial's own, ``artifacts`` one for files that a training function
    keeps; ``choose`` is the metric that chooses the best epoch, ``metric`` the one that the study is about.
    """

    cpus: float
    gpus: float
    checkpoints: str
    checkpoint_seconds: float
    choose: Metric
    metric: str
    probes: ProbeConfig = field(default_factory=ProbeConfig)
    artifacts: str = ""


@dataclass(frozen=True)
class EpochReport:
    """One epoch of a trial, as it goes to the results store.

    ``row`` holds the columns of the epochs table without its keys, ``columns`` those of the trials table that are known
    so far (final figures with the status ``completed``), ``tables`` rows of further tables.
    """

    epoch: int
    row: Mapping[str, float | int | None]
    status: EpochStatus
    best_epoch: int | None
    seconds: float
    columns: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


class Task(Protocol):
    """A kind of training. What `prepare` returns is shared by all trials of a run and travels to every worker.

    ``trainer`` names the module that `train` imports: workers import it as soon as they start.
    """

    trainer: str

    def prepare(self, spec: StudySpec, code: CodeSource) -> Mapping[str, Any]:
        """Return what the trials share, such as decoded data by source; StudyError where it cannot be had."""
        ...

    def fingerprint(self, config: Config, shared: Mapping[str, Any]) -> str:
        """Return 16 hexadecimal digits of the data that a config trains on."""
        ...

    def notes(self, spec: StudySpec, shared: Mapping[str, Any]) -> list[str]:
        """Return what a reader should know about the arms, a sentence each; StudyError where one cannot be built."""
        ...

    def train(self, config: Config, shared: Mapping[str, Any], setup: TrialSetup) -> Iterator[EpochReport]:
        """Train and yield a report for each epoch; after a restart, the epochs of the checkpoint first."""
        ...

    def plan_shared(self, spec: StudySpec, code: CodeSource) -> Mapping[str, Any]:
        """Return what `prepare` does as far as a plan needs it: nothing is downloaded."""
        ...

    def plan_notes(self, spec: StudySpec, shared: Mapping[str, Any]) -> list[str]:
        """Return what to know before a run, beside `notes`."""
        ...

    def shape(self, config: Config) -> str:
        """Return a text that is equal for configs whose trainings take equally long on the same data."""
        ...

    def estimate(self, config: Config, shared: Mapping[str, Any], cpus: float, gpus: float) -> float | None:
        """Return the seconds of a training, measured by a few steps; None where that cannot be done."""
        ...
