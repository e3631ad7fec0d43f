"""Simulated tuned ablations: verdicts about arms that are equal when tuned, but not at the baseline's own value.

The accuracy of an arm falls quadratically with the distance of the tuned value from the arm's optimum, which is
anywhere in the range and another in each arm. Distances go round the range, as on a circle: so the budget finds the
optimum equally well wherever it is, and all arms have the same tuned mean. The noise of all figures has sd 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.stats.verdicts import judge
from bench.verdict_simulations import DIRECTED, Change, Rate
from search_spaces.tune import Tune

DEPTH = 40.0
"""Loss at half of the range from the optimum, in standard deviations."""


def tuned_verdicts(*, studies: int, arms: int = 3, trials: int = 8, repeats: int = 5, seed: int = 0) -> Change:
    """Return how often any arm is called better or worse: from the untuned comparison, and from the tuned one."""
    rng = np.random.default_rng([seed, arms, trials, repeats])
    before, after = np.zeros(studies), np.zeros(studies)
    for study in range(studies):
        optima = rng.random(arms + 1)
        untuned, tuned = _study(rng, optima, study, trials, repeats)
        pairs = [(arm, 0) for arm in range(1, arms + 1)]
        before[study] = np.isin(judge(untuned, pairs).effects.verdict, DIRECTED).any()
        after[study] = np.isin(judge(tuned, pairs).effects.verdict, DIRECTED).any()
    return Change(Rate.of(before), Rate.of(after))


def _study(
    rng: np.random.Generator, optima: NDArray[np.float64], seed: int, trials: int, repeats: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the untuned and the tuned test figures, each of shape (arms, repeats)."""
    tune = Tune.model_validate(
        {"space": {"x": {"uniform": [0.0, 1.0]}}, "trials": trials, "repeats": repeats, "seed": seed}
    )
    untuned, tuned = np.empty((len(optima), repeats)), np.empty((len(optima), repeats))
    for repeat in range(repeats):
        tried = np.array([0.5, *(point["x"] for point in tune.points("", repeat))])
        gap = np.abs(tried - optima[:, None])
        means = -DEPTH * (2 * np.minimum(gap, 1 - gap)) ** 2
        chosen = np.argmax(means + rng.normal(size=means.shape), axis=1)
        untuned[:, repeat] = means[:, 0] + rng.normal(size=len(optima))
        tuned[:, repeat] = means[np.arange(len(optima)), chosen] + rng.normal(size=len(optima))
    return untuned, tuned
