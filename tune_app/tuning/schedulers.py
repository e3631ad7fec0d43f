"""Who stops a trial early: Ray's ASHA, its rungs filled with what the store already holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from search_spaces.errors import StudyError
from search_spaces.study import Asha


def make_scheduler(
    asha: Asha | None, epochs: int, mode: str, known: Iterable[Mapping[int, float]] = ()
) -> TrialScheduler:
    """Return ASHA, or a scheduler that stops nobody where ``asha`` is None.

    ``known`` holds the objective by epoch of each trial of earlier runs. Ray does not save ASHA's rungs, so they are
    filled again from these: a resumed search cuts where an undisturbed one would have.
    """
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
