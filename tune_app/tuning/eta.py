"""The time that a run has left, from how fast its trials went so far."""

from __future__ import annotations

import time
from collections.abc import Callable

FEWEST, PER_SLOT, SHARE = 4, 2, 0.25
"""A time is given after the work of 4 trials and of 2 for each slot, or of 2 trials and a quarter of all.

Before that, it would follow from one or two trials, which may be longer or shorter than the others."""


class TimeLeft:
    """Estimates the seconds that a run has left. Call `started`, `reported` and `ended` as trials do so.

    The rate is the work done since the first report, over the time since then: Ray and the workers have started by
    then. Work is counted in trials, and a trial that is running counts as far as it is.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self._clock = total, clock
        self._running: dict[str, float] = {}
        self._ended = 0
        self._slots = 0
        self._first: tuple[float, float] | None = None

    def started(self, trial: str) -> None:
        """Take in that a trial runs."""
        self._running.setdefault(trial, 0.0)
        self._slots = max(self._slots, len(self._running))

    def reported(self, trial: str, fraction: float) -> None:
        """Take in how far a running trial is, from 0 to 1."""
        self._running[trial] = min(fraction, 1.0)
        self._note_first()

    def ended(self, trial: str, counts: bool = True) -> None:
        """Take in that a trial ended; one that is to be tried again does not count."""
        self._running.pop(trial, None)
        self._ended += counts
        self._note_first()

    def seconds(self) -> float | None:
        """Return the seconds left; None where nothing is left or too little has been done to say."""
        if self._first is None or self._ended >= self.total:
            return None
        since, before = self._first
        done = self._done()
        if done - before < min(max(FEWEST, PER_SLOT * self._slots), max(FEWEST / 2, SHARE * self.total)):
            return None
        return max(0.0, (self.total - done) * (self._clock() - since) / (done - before))

    def _note_first(self) -> None:
        if self._first is None and self._done() > 0:
            self._first = self._clock(), self._done()

    def _done(self) -> float:
        return self._ended + sum(self._running.values())
