"""Aggregates of runs over tasks with stratified bootstrap intervals (Agarwal et al. 2021): functions of arrays.

Scores are runs x tasks, higher better; a single study is one task. Where we differ from their library: intervals are
seeded.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from analysis.stats.paired import ALPHA, Floats


def interquartile_mean(scores: Floats) -> float:
    """Return the mean of the middle half of all runs of all tasks: a quarter is cut from each end, rounded down."""
    return float(stats.trim_mean(scores, 0.25, axis=None))


def probability_of_improvement(x: Floats, y: Floats) -> float:
    """Return the chance that a run of ``x`` beats one of ``y``, ties counted half, averaged over the tasks.

    Per task it is the Mann-Whitney U over the number of pairs of runs. ``x`` and ``y`` may have different numbers of
    runs.
    """
    x, y = _by_task(x), _by_task(y)
    wins = (x[:, None, :] > y[None, :, :]).mean(axis=(0, 1))
    ties = (x[:, None, :] == y[None, :, :]).mean(axis=(0, 1))
    return float((wins + ties / 2).mean())


def stratified_interval(
    statistic: Callable[..., float], *scores: Floats, alpha: float = ALPHA, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic, runs drawn anew within each task and each array."""
    rng = np.random.default_rng(seed)
    found = [statistic(*(_redrawn(_by_task(one), rng) for one in scores)) for _ in range(resamples)]
    low, high = np.quantile(found, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def _by_task(scores: Floats) -> Floats:
    return scores[:, None] if scores.ndim == 1 else scores


def _redrawn(scores: Floats, rng: np.random.Generator) -> Floats:
    return np.take_along_axis(scores, rng.integers(0, len(scores), scores.shape), axis=0)
