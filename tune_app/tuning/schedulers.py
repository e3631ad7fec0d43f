"""What stops a trial early: ASHA, its rungs filled with what the store already holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.errors import StudyError
from search_spaces.study_parts import Asha

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler


def ray_scheduler(
    asha: Asha | None, epochs: int, mode: str, known: Iterable[Mapping[int, float]] = ()
) -> TrialScheduler:
    """Return Ray's ASHA, or a scheduler that stops nobody where ``asha`` is None.

    ``known`` holds the objective by epoch of each trial of earlier runs. Ray does not save ASHA's rungs, so they are
    filled again from these: a resumed search cuts where an undisturbed one would have.
    """
    from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

    if asha is None:
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    if asha.grace_period > epochs:
        raise StudyError(f"`search.asha.grace_period` is {asha.grace_period}, but must be at most epochs ({epochs})")
    scheduler = AsyncHyperBandScheduler(
        time_attr="epoch",
        metric="objective",
        mode=mode,
        max_t=epochs,
        grace_period=asha.grace_period,
        reduction_factor=asha.reduction_factor,
        brackets=asha.brackets,
        stop_last_trials=False,
    )
    sign = 1 if mode == "max" else -1
    for number, curve in enumerate(known):
        past = SimpleNamespace(trial_id=f"stored-{number}")
        for bracket in scheduler._brackets:
            for epoch, objective in sorted(curve.items()):
                bracket.on_result(past, epoch, sign * objective)  # type: ignore[arg-type]
    return scheduler


class SerialAsha:
    """Ray's ASHA for trials that run one after the other in one process, without Ray.

    The rule of Li et al. 2020 in the stopping form: at a rung a trial is stopped where it is below the quantile
    1 - 1 / reduction factor of the trials recorded there before it. With several brackets, trials take turns in them
    (Ray draws the bracket at random).
    """

    def __init__(self, asha: Asha, epochs: int, mode: str, known: Iterable[Mapping[int, float]] = ()) -> None:
        """Make the rungs, filled with the objective by epoch of each trial of earlier runs."""
        self._factor, self._sign = asha.reduction_factor, 1.0 if mode == "max" else -1.0
        self._brackets: list[list[tuple[int, dict[str, float]]]] = []
        for bracket in range(asha.brackets):
            count = int(math.log(epochs / asha.grace_period) / math.log(self._factor) - bracket + 1)
            rungs = [asha.grace_period * self._factor ** (rung + bracket) for rung in reversed(range(count))]
            self._brackets.append([(rung, {}) for rung in rungs])
        self._bracket_of: dict[str, int] = {}
        for number, curve in enumerate(known):
            for rungs_of in self._brackets:
                for epoch, objective in sorted(curve.items()):
                    self._record(rungs_of, f"stored-{number}", epoch, self._sign * objective)

    def stops(self, trial_id: str, epoch: int, objective: float) -> bool:
        """Return whether to stop a trial that has just reported its objective after an epoch."""
        bracket = self._bracket_of.setdefault(trial_id, len(self._bracket_of) % len(self._brackets))
        return self._record(self._brackets[bracket], trial_id, epoch, self._sign * objective)

    def _record(self, rungs: list[tuple[int, dict[str, float]]], trial_id: str, epoch: int, value: float) -> bool:
        for milestone, recorded in rungs:  # the highest first
            if epoch < milestone:
                continue
            if trial_id in recorded:
                return False
            cutoff = np.nanpercentile(list(recorded.values()), (1 - 1 / self._factor) * 100) if recorded else None
            recorded[trial_id] = value
            return cutoff is not None and bool(value < cutoff)
        return False
