"""What an executor is to the runner: where trials run, and how many side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from search_spaces.study import StudySpec
from search_spaces.study_parts import Asha
from tune_app.storage import Folder
from tune_app.tuning.cell import TrialSettings
from tune_app.tuning.progress import Progress
from tune_app.tuning.queues import Searcher
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.store.writer import ResultsStore


@dataclass(frozen=True)
class Stopping:
    """How a search stops trials early; ``known`` is the objective by epoch of each trial of earlier runs."""

    asha: Asha | None = None
    epochs: int = 1
    known: Sequence[Mapping[int, float]] = ()


@dataclass(frozen=True)
class Batch:
    """Trials to run: up to ``total`` jobs of a searcher, each with ``gpus``; ``alone``: one at a time.

    ``at_once``: jobs that the searcher has from the start; None: all.
    """

    searcher: Searcher
    total: int
    gpus: float
    stopping: Stopping = field(default_factory=Stopping)
    alone: bool = False
    at_once: int | None = None


@dataclass(frozen=True)
class Outlet:
    """Where reports go: the recorder that writes the store, the progress on screen, further listeners before them."""

    recorder: Recorder
    progress: Progress
    store: ResultsStore
    listeners: tuple[object, ...] = ()


class Executor(Protocol):
    """Runs trials."""

    @property
    def needs_archive(self) -> bool:
        """Whether workers may lack the folder of the user's code, so that it has to travel."""
        ...

    def session(self, spec: StudySpec, trials: int) -> AbstractContextManager[None]:
        """Return the context in which up to so many trials can run, such as a Ray that is started and ended."""
        ...

    def gpu_share(self, spec: StudySpec) -> float:
        """Return the share of a GPU that each trial gets; StudyError where a trial asks for more than there is."""
        ...

    def gpus(self) -> float:
        """Return how many GPUs there are in all."""
        ...

    def slots(self, cpus: float, gpus: float) -> int:
        """Return how many trials with these resources run side by side."""
        ...

    def check_folder(self, folder: Folder) -> None:
        """Raise StudyError where trials may run where they cannot see a folder."""
        ...

    def run(self, batch: Batch, shared: Mapping[str, Any], settings: TrialSettings, mode: str, outlet: Outlet) -> None:
        """Run a batch of trials until all have ended or the recorder says to stop."""
        ...
