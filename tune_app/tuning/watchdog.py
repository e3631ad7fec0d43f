"""Find trials that report nothing for too long: a process that hangs is ended, and its trial resumes in another."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FACTOR = 20.0
"""`auto` waits so many times the longest epoch that a trial has reported, and the longest start of the run."""
LEAST_SECONDS = 300.0
FIRST_SECONDS = 3600.0
"""What `auto` waits for the first report of a trial of an arm that has reported nothing yet."""
FIRST_START_SECONDS = 600.0
"""What `auto` waits for the start of a process while none has started yet: packages may come from a slow disk."""
START_SECONDS = 60.0
"""What is added to a given limit until the first report, since a worker imports and waits for the others; with `auto`,
the least that a start may take."""
QUIET_SECONDS = 60.0
"""After so long without any first report, the terminal says what the run waits for."""
STEP_SECONDS = 5.0
"""The most that one step counts: a driver that was itself stopped or busy for longer does not blame the trials."""


@dataclass
class _Watched:
    """A trial's silence and the longest epoch that it has reported, in seconds."""

    silent: float = 0.0
    longest: float = 0.0
    has_started: bool = False
    has_reported: bool = False
    arm: str = ""


def _never(trial: Any) -> bool:
    return False


def _own_name(trial: Any) -> str:
    return str(trial.trial_id)


def _unsaid(line: str) -> None:
    return


class Watchdog:
    """Calls ``end(trial, reason)`` for each trial whose silence exceeds the limit.

    ``timeout`` is a study's `trial_timeout`: seconds between two reports, ``auto`` (by the trial's own longest epoch),
    or None for never. ``starts`` returns whether the process of a pending trial is being started: that has a limit,
    too. ``arm`` returns a name that trials have in common whose first reports take equally long. ``say`` takes a line
    for the terminal, once, where nothing is reported for QUIET_SECONDS at the beginning. Silence is counted in steps of
    at most STEP_SECONDS. It has methods of Ray Tune's callbacks.
    """

    def __init__(
        self,
        timeout: float | str | None,
        end: Callable[[Any, str], None],
        clock: Callable[[], float] = time.monotonic,
        starts: Callable[[Any], bool] = _never,
        arm: Callable[[Any], str] = _own_name,
        say: Callable[[str], None] = _unsaid,
    ) -> None:
        self._timeout, self._end, self._clock = timeout, end, clock
        self._starts, self._arm, self._say = starts, arm, say
        self._trials: dict[str, _Watched] = {}
        self._last_step = clock()
        self._longest_start = 0.0
        self._first_reports: dict[str, float] = {}
        """Arm -> the longest time that the first report of one of its trials took."""
        self._quiet: float | None = 0.0
        """Seconds without any report so far; None once there was one, or the line about it was said."""

    def allowed(self, trial_id: str) -> float | None:
        """Return the seconds for which a trial that started may report nothing now; None for no limit."""
        return None if self._timeout is None else self._limit(self._trials[trial_id])

    def _limit(self, watched: _Watched) -> float:
        if isinstance(self._timeout, int | float):
            return self._timeout if watched.has_reported else self._timeout + START_SECONDS
        if watched.has_reported:
            return max(LEAST_SECONDS, FACTOR * watched.longest)
        if watched.has_started and watched.arm in self._first_reports:
            return max(LEAST_SECONDS, FACTOR * self._first_reports[watched.arm])
        if watched.has_started:
            return max(FIRST_SECONDS, FACTOR * max((other.longest for other in self._trials.values()), default=0.0))
        return max(START_SECONDS, FACTOR * self._longest_start) if self._longest_start else FIRST_START_SECONDS

    def on_trial_start(self, trial: Any, **info: Any) -> None:
        """Begin to count; what is known of a trial's epochs stays over a restart."""
        before = self._trials.get(trial.trial_id, _Watched())
        if not before.has_started:
            self._longest_start = max(self._longest_start, before.silent)
        self._trials[trial.trial_id] = _Watched(longest=before.longest, has_started=True, arm=self._arm(trial))

    def on_trial_recover(self, trial: Any, **info: Any) -> None:
        """Begin to count the start of another process for a trial."""
        before = self._trials.get(trial.trial_id, _Watched())
        self._trials[trial.trial_id] = _Watched(longest=before.longest)

    def on_trial_result(self, trial: Any, result: Mapping[str, Any], **info: Any) -> None:
        """Begin again at 0. Epochs that a checkpoint brought back count with the time that they took."""
        watched = self._trials.setdefault(trial.trial_id, _Watched(has_started=True))
        epochs = [float(row.get("seconds") or 0.0) for row in result.get("epochs", ())]
        watched.longest = max(watched.longest, watched.silent, *epochs, 0.0)
        if not watched.has_reported:
            self._first_reports[watched.arm] = max(self._first_reports.get(watched.arm, 0.0), watched.silent, *epochs)
        watched.silent, watched.has_reported = 0.0, True
        self._quiet = None

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
        waiting = [(trial, watched) for trial in trials if (watched := self._counted(trial)) is not None]
        self._say_if_quiet(waiting, passed)
        for trial, watched in waiting if self._timeout is not None else ():
            watched.silent += passed
            limit = self._limit(watched)
            if watched.silent > limit:
                watched.silent = 0.0
                what = "no report" if watched.has_started else "its process did not start"
                self._end(trial, f"{what} for {limit:.0f} s (`trial_timeout`): its process was ended")

    def _counted(self, trial: Any) -> _Watched | None:
        """Return what is known of a trial that runs or whose process is being started; None of others."""
        if trial.status == "RUNNING":
            return self._trials.get(trial.trial_id)
        if trial.status == "PENDING" and self._starts(trial):
            return self._trials.setdefault(trial.trial_id, _Watched())
        return None

    def _say_if_quiet(self, waiting: list[tuple[Any, _Watched]], passed: float) -> None:
        """Say what the run waits for, once, where its first report does not come."""
        if self._quiet is None or not waiting:
            return
        self._quiet += passed
        if self._quiet <= QUIET_SECONDS:
            return
        started = sum(watched.has_started for _, watched in waiting)
        limits = sorted({self._limit(watched) for _, watched in waiting}) if self._timeout is not None else []
        self._quiet = None
        self._say(
            f"nothing reported for {QUIET_SECONDS:.0f} s; trials in their first epoch: {started}, processes that start "
            f"and import: {len(waiting) - started}; "
            + (f"such a process is ended after {limits[0]:.0f} s" if limits else "nothing ends such a process")
            + "; `trial_timeout: SECONDS` in the study sets the limit"
        )


def end_worker(actor: Any) -> None:
    """Kill the process of a Ray actor, on whatever node it runs; Ray then takes its trial as failed.

    SIGKILL ends a stopped process, too; `ray.kill` asks the process itself, which may not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    found = ray._private.state.state.actor_table(actor._actor_id.hex())
    pid, node = found.get("Pid"), found.get("Address", {}).get("NodeID")
    if not pid or not node:
        return
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    kill = ray.remote(num_cpus=0, max_retries=0)(_kill)
    kill.options(scheduling_strategy=there).remote(pid)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
