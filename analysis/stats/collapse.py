"""Collapsed runs: completed runs whose result is far worse than the other runs of their arm.

A learning rate near the limit of stability or an unlucky initialisation can let a few runs end near chance level while
the others train well. Such results are not normal: a sample of a few seeds without a collapse understates the risk,
and the t test then finds a difference of means that is not there. So collapsed runs are detected, their share is
compared between arms by an exact test, and a verdict about means has to survive the share of collapses that comparable
arms show (`analysis.stats.verdicts`).

Detection. Sort an arm's runs. A gap between neighbours of more than ``GAP`` standard deviations splits them into two
groups, and the worse group has collapsed. The standard deviation is a robust one, pooled over all arms: the median
distance of a run from the median of its arm, times 1.4826 (for normal noise), with an allowance where few runs are
there to estimate it from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from analysis.stats.paired import Floats
from analysis.stats.robust import welch_test

GAP = 3.25
_ALLOWANCE = 3.0
_NORMAL = 1.4826
_UNEQUAL_SHARES = 0.05
_DIFFERENT = 0.01

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Collapses:
    """Collapsed runs of a table of arms by seeds.

    ``mask``: (arms, seeds). ``count`` and ``runs``: for each arm. ``depth``: (arms, seeds), how far a collapsed run
    lies below the median of the other runs of its arm, in the metric's unit; NaN for all other cells.
    ``survivors``: (arms, seeds), the other runs, with higher meaning better; NaN for all other cells.
    """

    mask: Bools
    count: NDArray[np.int64]
    runs: NDArray[np.int64]
    depth: Floats
    survivors: Floats

    @property
    def any(self) -> bool:
        """Whether any run collapsed."""
        return bool(self.count.sum())

    def unseen(self, arm: int) -> tuple[float, float]:
        """Return what collapses that the arm was spared would take from its mean, and the variance of that figure.

        Both are 0 where no comparable arm shows a larger share of collapses. With C of the N runs of the arm and its
        comparable arms collapsed, the share is p = (C + 1/2) / (N + 1); what exceeds the arm's own share is
        multiplied by the mean depth of those collapses. The variance is that of the share, p (1 - p) / N, times the
        squared depth.
        """
        same = self.comparable(arm)
        depths = self.depth[same][self.mask[same]]
        if not len(depths):
            return 0.0, 0.0
        runs, depth = int(self.runs[same].sum()), float(depths.mean())
        share = (len(depths) + 0.5) / (runs + 1)
        excess = share - self.count[arm] / max(int(self.runs[arm]), 1)
        return (excess * depth, share * (1 - share) / runs * depth**2) if excess > 0 else (0.0, 0.0)

    def comparable(self, arm: int) -> Bools:
        """Return which arms may share the arm's risk of a collapse, itself among them.

        Those whose other runs do not differ in mean from the arm's at 1 % (Welch's test), and whose share of collapses
        does not differ from the arm's at 5 % (Fisher's exact test). Arms that train differently well when they do not
        collapse say nothing about each other's collapses.
        """
        n, mean, variance = self._moments
        spread = variance * (n - 1) / np.maximum(n, 1)
        others = np.flatnonzero((np.minimum(n, n[arm]) >= 2) & (spread + spread[arm] > 1e-24))
        same: Bools = np.ones(len(n), bool)
        if len(others):
            p, _, _ = welch_test(mean[others] - mean[arm], (variance[others], variance[arm]), (n[others], n[arm]))
            same[others[p < _DIFFERENT]] = False
        own = int(self.count[arm]), int(self.runs[arm])
        shares = list(zip(self.count.tolist(), self.runs.tolist(), strict=True))
        alike = {share: share_p(*share, *own) >= _UNEQUAL_SHARES for share in set(shares)}
        same &= np.array([alike[share] for share in shares], bool)
        same[arm] = True
        return same

    @cached_property
    def _moments(self) -> tuple[NDArray[np.int64], Floats, Floats]:
        """For each arm how many runs did not collapse, their mean and their unbiased variance; 0 without any."""
        finite = np.isfinite(self.survivors)
        n = finite.sum(axis=1)
        mean = np.where(finite, self.survivors, 0.0).sum(axis=1) / np.maximum(n, 1)
        squares = np.where(finite, self.survivors - mean[:, None], 0.0) ** 2
        return n, mean, squares.sum(axis=1) / np.maximum(n - 1, 1)


def find_collapses(values: Floats, higher_is_better: bool | None = True) -> Collapses:
    """Return the collapsed runs of ``values``, (arms, seeds), NaN where a cell has no figure.

    An arm needs 3 runs. Without a direction (None) no run counts as collapsed. Where the worse group is the larger one,
    it counts only if the other group is not beyond the best run of the other arms: that would be a lucky run.
    """
    values = np.asarray(values, float)
    good = -values if higher_is_better is False else values
    mask = np.zeros(values.shape, bool)
    runs = np.isfinite(values).sum(axis=1)
    if higher_is_better is not None:
        for _ in range(2):  # Once more with a standard deviation from which the collapsed runs are left out.
            threshold = _threshold(np.where(mask, np.nan, good))
            mask = np.array([_worse_group(good, arm, threshold) for arm in range(len(good))]).reshape(good.shape)
    survivors = np.where(mask, np.nan, good)
    depth = np.full(values.shape, np.nan)
    for row in np.flatnonzero(mask.any(axis=1)):
        depth[row, mask[row]] = np.nanmedian(survivors[row]) - good[row, mask[row]]
    return Collapses(mask, mask.sum(axis=1), runs, depth, survivors)


def _worse_group(good: Floats, arm: int, threshold: float) -> Bools:
    """Return which runs of an arm lie below its largest gap, if that is wide enough."""
    row = good[arm]
    seen = np.sort(row[np.isfinite(row)])
    gaps = np.diff(seen)
    if len(seen) < 3 or not gaps.max() > threshold:
        return np.zeros(len(row), bool)
    place = int(np.argmax(gaps))
    others = np.delete(good, arm, axis=0)
    lucky = 2 * (place + 1) > len(seen) and not (others[np.isfinite(others)] >= seen[-1]).any()
    return np.zeros(len(row), bool) if lucky else np.isfinite(row) & (row <= seen[place])


def _threshold(good: Floats) -> float:
    """Return the gap above which two groups of runs are distinct; infinite where the spread cannot be estimated."""
    rows = [row[np.isfinite(row)] for row in good]
    rows = [row for row in rows if len(row) >= 3]
    if not rows:
        return float("inf")
    freedom = sum(len(row) - 1 for row in rows)
    # The median of an odd number of runs is one of them; its own distance of 0 says nothing.
    distances = np.concatenate([np.sort(np.abs(row - np.median(row)))[len(row) % 2 :] for row in rows])
    spread = _NORMAL * float(np.median(distances))
    return GAP * (1 + _ALLOWANCE / freedom) * spread if spread > 0 else float("inf")


@lru_cache(maxsize=65_536)
def share_p(count: int, runs: int, other_count: int, other_runs: int) -> float:
    """Return Fisher's exact two-sided p of equal shares of two arms (collapsed or lost runs); 1 without any run.

    The unpaired test is used although arms share seeds: with few seeds the exact McNemar test cannot reach 5 % (five
    discordant pairs give 0.0625), and where outcomes of one seed are positively correlated Fisher's test is
    conservative.
    """
    if not runs or not other_runs:
        return 1.0
    table = [[count, runs - count], [other_count, other_runs - other_count]]
    from scipy import stats  # takes most of a second to import

    return float(stats.fisher_exact(table).pvalue)
