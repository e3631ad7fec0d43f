"""Expected validation performance: how good the best of k search trials is on average (Dodge et al. 2019).

A search is reported fairly by the best validation figure that a budget of k trials can be expected to reach, for each k
up to the number of trials that were run. Here it is the unbiased estimator: the mean of the maximum over all subsets of
k of the n trials (a U-statistic; Tang et al. 2020), not the maximum of k draws with replacement, which is biased
downwards.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from analysis.stats.paired import ALPHA, Floats
from search_spaces.errors import StudyError


def expected_best(values: Floats, *, higher_is_better: bool = True) -> Floats:
    """Return for k = 1 ... n the expected best of k trials, shape (n,).

    ``values``: the validation figures of n trials of a random search, in any order. A trial that failed or diverged
    counts: give it the worst value it can have. With v sorted upwards, v_(i) is the largest of C(i - 1, k - 1) of the
    C(n, k) subsets. Raises StudyError for no values or for one that is not a number.
    """
    values = np.asarray(values, float)
    if not len(values) or not np.isfinite(values).all():
        raise StudyError("`values` must be one or more finite numbers; give a failed trial the worst possible value")
    ordered = np.sort(values if higher_is_better else -values)
    best = _subset_weights(len(ordered)) @ ordered
    return best if higher_is_better else -best


@lru_cache(maxsize=8)
def _subset_weights(n: int) -> Floats:
    """Return the share of subsets of k (rows) whose largest is the i-th smallest (columns): C(i - 1, k - 1) / C(n, k).

    The largest of all is in k / n of the subsets; from there C(i - 1, k - 1) = C(i, k - 1) (i - k + 1) / i downwards.
    """
    weights = np.zeros((n, n))
    size = np.arange(1, n + 1)
    weights[:, -1] = size / n
    for i in range(n - 1, 0, -1):
        weights[:, i - 1] = weights[:, i] * np.maximum(i - size + 1, 0) / i
    return weights


def expected_best_band(
    values: Floats, *, higher_is_better: bool = True, alpha: float = ALPHA, resamples: int = 1000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Return the percentile bootstrap band of `expected_best`, lower and upper, each of shape (n,).

    Pointwise, not for all k at once. For k near n it is too narrow, since no resample exceeds the best trial.
    """
    values = np.asarray(values, float)
    drawn = values[np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))]
    found = np.stack([expected_best(row, higher_is_better=higher_is_better) for row in drawn])
    low, high = np.quantile(found, [alpha / 2, 1 - alpha / 2], axis=0)
    return low, high
