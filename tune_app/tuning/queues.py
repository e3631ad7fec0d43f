"""What an executor asks for jobs, and the queue of cells that an ablation gives it.

Nothing here needs Ray: `ray_adapters` makes a Ray searcher of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tune_app.tuning.jobs import Job

FINISHED = "FINISHED"
"""What `suggest` returns when nothing is left; Ray's own word for it."""


class Searcher(Protocol):
    """What an executor asks for jobs."""

    def suggest(self, trial_id: str) -> Any:
        """Return a job as ``{"job": text}``, FINISHED, or None for "not now"."""
        ...

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take in a report."""
        ...

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take in how a trial ended."""
        ...


class QueueSearcher:
    """Hands out the jobs that a study needs now, and asks again when all of them are handed out.

    While trials are running whose results may show that more is needed, it waits. ``needed`` returns the jobs that are
    needed for the results so far and have not ended; ``on_new`` is given the number of those that are new.
    """

    def __init__(self, needed: Callable[[], Sequence[Job]], on_new: Callable[[int], None] = lambda new: None) -> None:
        self._needed, self._on_new = needed, on_new
        self._queue: deque[Job] = deque()
        self._handed_out: set[str] = set()
        self._running: set[str] = set()
        self._may_need_more = True

    def suggest(self, trial_id: str) -> Any:
        """Return the next job, None while it depends on running trials, or FINISHED."""
        if not self._queue and self._may_need_more:
            self._may_need_more = False
            new = [job for job in self._needed() if job.digest not in self._handed_out]
            self._queue.extend(new)
            self._on_new(len(new))
        if not self._queue:
            if self._running:
                return None
            self._may_need_more = True  # a later batch asks again: further attempts may have given results meanwhile
            return FINISHED
        job = self._queue.popleft()
        self._handed_out.add(job.digest)
        self._running.add(trial_id)
        return {"job": job.to_json()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: what is needed depends on trials that ended."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note that a trial ended: its result may show that more is needed."""
        self._running.discard(trial_id)
        self._may_need_more = True
