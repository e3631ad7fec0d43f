"""What a sequential plan can be expected to do under assumed true differences, by simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.stats.sequential import SequentialPlan, decide, trainings_used


@dataclass(frozen=True)
class SequentialForecast:
    """What a sequential plan can be expected to do, each with its Monte-Carlo standard error in ``error``.

    ``trainings``: expected number, the reference arm's included; ``fixed``: that of the design without looks.
    ``decided``: for each arm the chance to be found different. ``equivalent``: to be found equivalent.
    """

    trainings: float
    error: float
    fixed: int
    decided: tuple[float, ...]
    equivalent: tuple[float, ...]


def forecast(
    effects: Sequence[float], plan: SequentialPlan, *, sd: float = 1.0, studies: int = 400, seed: int = 0
) -> SequentialForecast:
    """Return the expected course of a plan under assumed true differences, by simulation of normal results.

    ``sd``: standard deviation of the paired differences, of which half the variance comes from the reference arm.
    """
    rng = np.random.default_rng(seed)
    shape = (len(effects), plan.looks[-1])
    used = np.zeros(studies)
    different, same = np.zeros(len(effects)), np.zeros(len(effects))
    for study in range(studies):
        noise = rng.normal(size=shape) - rng.normal(size=(1, shape[1]))
        decisions = decide(np.asarray(effects, float)[:, None] + sd / np.sqrt(2) * noise, plan)
        used[study] = trainings_used(decisions)
        different += [decision.state in ("better", "worse") for decision in decisions]
        same += [decision.state == "equivalent" for decision in decisions]
    return SequentialForecast(
        trainings=float(used.mean()),
        error=float(used.std() / np.sqrt(studies)),
        fixed=(len(effects) + 1) * plan.looks[-1],
        decided=tuple((different / studies).tolist()),
        equivalent=tuple((same / studies).tolist()),
    )
