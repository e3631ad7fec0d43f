"""Train batches: one recorder, one progress and one live file for a whole run, and further attempts at what failed."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

from search_spaces.budget import Usage, total
from search_spaces.errors import StudyError
from search_spaces.plan import Plan
from search_spaces.study import StudySpec
from tune_app.tuning.cell import TrialSettings
from tune_app.tuning.executor import Batch, Executor, Outlet
from tune_app.tuning.jobs import Job
from tune_app.tuning.preparation import objective
from tune_app.tuning.progress import Progress, duration
from tune_app.tuning.queues import QueueSearcher
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.rounds import Results
from tune_app.tuning.run_clock import RunClock
from tune_app.tuning.running_effects import RunningEffects
from tune_app.tuning.store.live import LiveWriter
from tune_app.tuning.store.rows import TrialRecord, running_trial
from tune_app.tuning.store.writer import ResultsStore

_ENDED = ("completed", "pruned", "diverged")
"""How a trial ends that the trials after it are compared with."""


@dataclass
class RunSummary:
    """What a run did."""

    study: str
    store: str
    already: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    stopped: bool = False
    budget_spent: str = ""
    """Which limits of the budget ended the run before all was trained; "" where none did."""
    seconds: float = 0.0
    estimated: float | None = None
    """The seconds that the run was estimated to take before it trained; None where it could not be estimated."""
    began: float = field(default_factory=time.monotonic)
    """When the run began, by `time.monotonic`."""
    notes: list[str] = field(default_factory=list)

    @property
    def trained(self) -> int:
        """Trials that ended in this run."""
        return sum(self.counts.values())


class Passes:
    """A context in which batches are trained one after the other; at its end the summary says what was done.

    Who trains in it sets ``is_complete`` when nothing is left, so that a budget that was just enough is not reported.
    Raises StudyError at the end where the store could not be written any more.
    """

    def __init__(
        self,
        spec: StudySpec,
        store: ResultsStore,
        executor: Executor,
        shared: Mapping[str, Any],
        settings: TrialSettings,
        summary: RunSummary,
        listeners: tuple[object, ...] = (),
    ) -> None:
        """Take what the batches of a run share; ``summary.already`` is known by now."""
        self._objective, self._mode = objective(spec)
        self._curves: list[dict[int, float]] = []
        self._spec, self._store, self._executor = spec, store, executor
        self._shared, self._settings = shared, settings
        self._summary = summary
        self.is_complete = False
        self.recorder = Recorder(spec, store, executor.gpus)
        if spec.budget is not None:
            self.recorder.use(total(Usage.of(trial.seconds, trial.gpus, trial.cpus) for trial in store.trials()))
        self._progress = Progress(0, summary.already, self._objective, self._mode, sys.stdout)
        self._live = LiveWriter(store.folder, spec.name)
        self._clock = RunClock(spec, settings.task, executor_name(executor), self._slots, summary.began)
        self._outlet = Outlet(self.recorder, self._progress, store, listeners)
        self.recorder.on_change = self._on_change

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *rest: object) -> None:
        self._progress.stop()
        self._write_live(force=True)
        self._live.close()
        if error is None:
            self._conclude()

    def expect(self, trials: int) -> None:
        """Add trials to the number that this run is known to train."""
        self._progress.total += trials

    def estimate(self, jobs: Sequence[Job]) -> None:
        """Estimate the time of the run, with these further jobs, from what this machine measured before, and say it."""
        if not jobs:
            return
        is_first = self._clock.estimated is None
        self._clock.expect(jobs)
        if is_first and self._clock.estimated is not None:
            about = duration(self._clock.estimated)
            self._progress.note(f"about {about} for {len(jobs)} trials, start-up included, as measured here before")

    def show_effects(self, plan: Plan, stored: Results) -> None:
        """Show the effect of each arm so far, beginning with the results that the store holds."""
        metric = self._spec.metric_record(self._spec.metric)
        self._progress.effects = RunningEffects(plan, metric, stored)

    def train(self, batch: Batch) -> None:
        """Train; then train again, alone, what ran out of memory, and once more what failed and has attempts left."""
        recorder = self.recorder
        self._run(batch)
        while recorder.again and not recorder.should_stop:
            jobs, recorder.again = recorder.again, []
            for gpus in sorted({job.gpus for job in jobs}):
                some = [job for job in jobs if job.gpus == gpus]
                alone = any(job.history[-1].startswith("out of memory") for job in some)
                queue = QueueSearcher(partial(list, some))
                stopping = replace(batch.stopping, known=[*batch.stopping.known, *self._curves])
                self._run(Batch(queue, len(some), gpus, stopping, alone))

    def _run(self, batch: Batch) -> None:
        if self.recorder.should_stop:
            return
        self._executor.run(batch, self._shared, self._settings, self._mode, self._outlet)

    def _on_change(self, record: TrialRecord, event: str) -> None:
        self._progress.update(record, event)
        self._clock.update(record, event)
        if self._spec.mode == "search" and event in _ENDED:
            self._curves.append(record.curve(self._objective))
        digest = record.job.digest
        if self._progress.effects is not None and event == "completed":
            self._progress.effects.add(digest, self.recorder.results[digest])
        self._write_live()

    def _slots(self, gpus: float) -> int:
        return self._executor.slots(self._settings.cpus, gpus)

    def _write_live(self, force: bool = False) -> None:
        running = [] if force else [running_trial(record) for record in self.recorder.records.values()]
        shown = self._progress
        self._live.update(
            running, self.recorder.counts, shown.total, self._summary.already, shown.seconds_left(), force=force
        )

    def _conclude(self) -> None:
        recorder, summary = self.recorder, self._summary
        if not recorder.should_stop:
            self._clock.close()
            summary.estimated = self._clock.estimated
        if recorder.write_error is not None:
            raise StudyError(
                f"{self._store.folder.url} cannot be written any more: {recorder.write_error}; what was finished "
                "is kept: make room, or the place reachable, then run the same command again"
            )
        summary.counts = recorder.counts
        summary.failed = [(f"{job.arm}, seed {job.config.seed}", error) for job, error in recorder.failed_jobs]
        summary.interrupted = recorder.interrupted
        summary.budget_spent = "" if self.is_complete else recorder.budget_spent
        summary.stopped = recorder.should_stop and not recorder.interrupted


def executor_name(executor: Executor) -> str:
    """Return the name under which what an executor takes beside training is kept; on a cluster it is another."""
    return type(executor).__name__ + (", cluster" if executor.needs_archive else "")
