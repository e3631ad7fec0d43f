"""The clock of a run: an estimate of its time before it trains, and measurements for later estimates at its end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from search_spaces.config import Config
from search_spaces.study import StudySpec
from tune_app.tasks import Task
from tune_app.tuning.calibration import Speeds, cost_per_trial, shape_key
from tune_app.tuning.jobs import Job
from tune_app.tuning.store.rows import TrialRecord

SURPLUS = 1.1
"""How many times as many trials as expected a run may train for its estimate to count."""
_TRAINED = ("completed", "pruned")


def shape_of(spec: StudySpec, task: Task, config: Config, fingerprint: str) -> str:
    """Return what the time of a trial depends on; the trials of a search count as one kind, pruned ones included.

    ``fingerprint`` is that of the data: a config does not say how many images a folder has. A search of one name may
    have several sizes, so its baseline counts, too.
    """
    is_search = spec.mode == "search"
    kind = f"search {spec.name} {spec.baseline.digest()}" if is_search else task.shape(config)
    return f"{kind} {fingerprint}"


class RunClock:
    """Estimates the seconds of a run, and adds what it measured to this machine's `Speeds`.

    ``executor`` is the name under which start-up is kept, ``began`` when the run began (`time.monotonic`), ``slots``
    says how many trials with a share of a GPU run side by side.
    """

    def __init__(
        self,
        spec: StudySpec,
        task: Task,
        executor: str,
        slots: Callable[[float], int],
        began: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec, self._task, self._executor, self._slots = spec, task, executor, slots
        self._began, self._clock = began, clock
        self._speeds = Speeds.read()
        self._running: set[str] = set()
        self._side_by_side = 0
        self._training_since: float | None = None
        self._last_end = began
        self._seconds: list[float] = []
        self._epochs: dict[str, list[float]] = defaultdict(list)
        self._expected = self._ended = 0
        self._is_known = True
        self.estimated: float | None = None
        """The estimated seconds of the whole run; None where a trial was never measured, or other trials were run."""

    def expect(self, jobs: Sequence[Job]) -> None:
        """Estimate the run with these jobs, or add them to the estimate; none where one of them was never measured."""
        known = [seconds for seconds in map(self._trial_seconds, jobs) if seconds is not None]
        self._is_known = self._is_known and len(known) == len(jobs)
        if not self._is_known:
            self.estimated = None
            return
        self._expected += len(jobs)
        seconds = self._speeds.run_seconds(self._executor, known, self._slots(jobs[0].gpus))
        if self.estimated is not None:  # a later round of trials: the start-up is over
            seconds += self.estimated - self._speeds.startup(self._executor)
        self.estimated = seconds

    def update(self, record: TrialRecord, event: str) -> None:
        """Take in that a trial started, reported, or ended."""
        digest, now = record.job.digest, self._clock()
        if event in ("started", "running"):
            self._running.add(digest)
            self._side_by_side = max(self._side_by_side, len(self._running))
        if self._training_since is None and record.epochs:
            self._training_since = now - sum(float(row.get("seconds") or 0.0) for row in record.epochs.values())
        if event in ("started", "running"):
            return
        self._running.discard(digest)
        self._last_end = now
        self._ended += event != "again"
        seconds = record.columns.get("seconds")
        if event in _TRAINED and seconds:
            self._seconds.append(seconds)
            self._epochs[self._key(record.job)].append(seconds / record.job.config.epochs)

    def close(self) -> None:
        """Add what was measured to the speeds of this machine; a run that trained nothing adds nothing.

        A sequential or tuned study may have trained more than was expected. Then there is no estimate of all of it. A
        run that went on with a trial of an earlier one adds no start-up: the first report brought its earlier epochs.
        """
        if self._ended > SURPLUS * self._expected:
            self.estimated = None
        if not self._seconds or self._training_since is None:
            return
        span = self._last_end - self._training_since
        for key, seconds in self._epochs.items():
            self._speeds.add_epochs(key, sum(seconds) / len(seconds))
        if self._training_since >= self._began:
            per_trial = cost_per_trial(span, self._seconds, max(1, self._side_by_side))
            self._speeds.add_run(self._executor, self._training_since - self._began, per_trial)
        self._speeds.write()

    def _trial_seconds(self, job: Job) -> float | None:
        each = self._speeds.epoch_seconds(self._key(job))
        return None if each is None else each * job.config.epochs

    def _key(self, job: Job) -> str:
        shape = shape_of(self._spec, self._task, job.config, job.fingerprint)
        return shape_key(shape, self._spec.resources.cpu, job.gpus)
