"""Find trials that report nothing for too long: a process that hangs is ended, and its trial resumes in another."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FACTOR = 20.0
"""`auto` waits so many times the longest epoch that a trial has reported."""
LEAST_SECONDS = 300.0
FIRST_SECONDS = 3600.0
"""What `auto` waits for the first report of a trial, of whose epochs nothing is known yet."""
START_SECONDS = 120.0
"""What is added to a given limit until the first report: a worker waits for the others and imports."""
STEP_SECONDS = 5.0
"""The most that one step counts: a driver that was itself stopped or busy for longer does not blame the trials."""


@dataclass
class _Watched:
    """A trial's silence and the longest epoch that it has reported, in seconds."""

    silent: float = 0.0
    longest: float = 0.0
    has_reported: bool = False


class Watchdog:
    """Calls ``end(trial, reason)`` for each trial whose silence exceeds the limit.

    ``timeout`` is a study's `trial_timeout`: seconds between two reports, ``auto`` (by the trial's own longest epoch),
    or None for never. Silence is counted in steps of at most STEP_SECONDS. It has methods of Ray Tune's callbacks.
    """

    def __init__(
        self,
        timeout: float | str | None,
        end: Callable[[Any, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout, self._end, self._clock = timeout, end, clock
        self._trials: dict[str, _Watched] = {}
        self._last_step = clock()

    def allowed(self, trial_id: str) -> float | None:
        """Return the seconds for which a trial that started may report nothing now; None for no limit."""
        return None if self._timeout is None else self._limit(self._trials[trial_id])

    def _limit(self, watched: _Watched) -> float:
        if isinstance(self._timeout, int | float):
            return self._timeout if watched.has_reported else self._timeout + START_SECONDS
        if watched.has_reported:
            return max(LEAST_SECONDS, FACTOR * watched.longest)
        return max(FIRST_SECONDS, FACTOR * max((other.longest for other in self._trials.values()), default=0.0))

    def on_trial_start(self, trial: Any, **info: Any) -> None:
        """Begin to count; what is known of a trial's epochs stays over a restart."""
        longest = self._trials[trial.trial_id].longest if trial.trial_id in self._trials else 0.0
        self._trials[trial.trial_id] = _Watched(longest=longest)

    def on_trial_result(self, trial: Any, result: Mapping[str, Any], **info: Any) -> None:
        """Begin again at 0. Epochs that a checkpoint brought back count with the time that they took."""
        watched = self._trials.setdefault(trial.trial_id, _Watched())
        epochs = [float(row.get("seconds") or 0.0) for row in result.get("epochs", ())]
        watched.longest = max(watched.longest, watched.silent, *epochs, 0.0)
        watched.silent, watched.has_reported = 0.0, True

    def on_trial_complete(self, trial: Any, **info: Any) -> None:
        """Forget a trial that ended."""
        self._trials.pop(trial.trial_id, None)

    def on_trial_error(self, trial: Any, **info: Any) -> None:
        """Forget a trial that ended."""
        self._trials.pop(trial.trial_id, None)

    def on_step_end(self, trials: list[Any], **info: Any) -> None:
        """Count, and end what has been silent for too long."""
        now = self._clock()
        passed, self._last_step = min(now - self._last_step, STEP_SECONDS), now
        if self._timeout is None:
            return
        for trial in trials:
            watched = self._trials.get(trial.trial_id)
            if watched is None or trial.status != "RUNNING":
                continue
            watched.silent += passed
            limit = self._limit(watched)
            if watched.silent > limit:
                watched.silent = 0.0
                self._end(trial, f"no report for {limit:.0f} s (`trial_timeout`): its process was ended")


def end_worker(trial: Any) -> None:
    """Kill the process of a Ray Tune trial, on whatever node it runs; Ray then takes the trial as failed.

    SIGKILL ends a stopped process, too; `ray.kill` asks the process itself, which may not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    actor = trial.temporary_state.ray_actor
    if actor is None:
        return
    found = ray._private.state.state.actor_table(actor._actor_id.hex())
    pid, node = found.get("Pid"), found.get("Address", {}).get("NodeID")
    if not pid or not node:
        return
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    kill = ray.remote(num_cpus=0, max_retries=0)(_kill)
    kill.options(scheduling_strategy=there).remote(pid)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
