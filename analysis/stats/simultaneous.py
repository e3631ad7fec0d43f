"""Many comparisons at once: simultaneous intervals of many arms against one, and false discovery rates over a page.

An interval of 95 % for each arm leaves out the truth in 5 % of arms, so in more than 5 % of tables. Simultaneous
intervals hold for a whole table at once with 95 %. They are wider, and are labelled with their kind wherever they are
shown.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from analysis.stats.distributions import t_isf
from analysis.stats.paired import ALPHA, NO_SPREAD, Floats
from search_spaces.errors import StudyError

Kind = Literal["max-t", "dunnett"]
_DRAWS = 20_000


def simultaneous_intervals(
    values: Floats,
    reference: int,
    *,
    kind: Kind = "max-t",
    alpha: float = ALPHA,
    resolution: float = 0.0,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Return the ends of simultaneous intervals of each other arm's mean minus the reference's, in order.

    ``values``: (arms, seeds), NaN where a cell has no figure. "max-t" pairs by seed: each interval is the mean
    difference +- c standard errors, where c is the quantile of the largest of the |t| of all comparisons. Draws of
    normal differences with a correlation of one half give c: that of independent arms against one reference, and seeds
    that shift all arms alike do not change it. "dunnett" is Dunnett's test (1955) as SciPy has it: unpaired, equal
    variances. NaN where an arm has fewer than 2 pairs (for Dunnett: values). ``resolution``: the smallest step of the
    metric; for max-t no standard deviation is taken as less, and without a spread an interval is NaN.
    """
    if kind not in get_args(Kind):
        raise StudyError(f"`kind` is {kind!r}, but must be one of {', '.join(get_args(Kind))}")
    others = np.delete(np.arange(len(values)), reference)
    low, high = np.full(len(others), np.nan), np.full(len(others), np.nan)
    if kind == "dunnett":
        from scipy import stats  # takes most of a second to import

        samples = [row[np.isfinite(row)] for row in values]
        usable = [place for place, arm in enumerate(others) if len(samples[arm]) >= 2]
        if usable and len(samples[reference]) >= 2:
            found = stats.dunnett(
                *(samples[others[place]] for place in usable),
                control=samples[reference],
                rng=np.random.default_rng(seed),
            ).confidence_interval(1 - alpha)
            low[usable], high[usable] = found.low, found.high
        return low, high
    d = values[others] - values[reference]
    n = np.isfinite(d).sum(axis=1)
    usable_rows = n >= 2
    if not usable_rows.any():
        return low, high
    d = d[usable_rows]
    mean, sd = np.nanmean(d, axis=1), np.maximum(np.nanstd(d, axis=1, ddof=1), resolution)
    sd = np.where(sd > NO_SPREAD * np.maximum(1, np.abs(mean)), sd, np.nan)
    half = max_t_critical(int(n[usable_rows].min()), len(d), alpha=alpha, seed=seed) * sd / np.sqrt(n[usable_rows])
    low[usable_rows], high[usable_rows] = mean - half, mean + half
    return low, high


@lru_cache(maxsize=256)
def max_t_critical(pairs: int, arms: int, *, alpha: float = ALPHA, correlation: float = 0.5, seed: int = 0) -> float:
    """Return the 1 - ``alpha`` quantile of the largest |t| of ``arms`` correlated comparisons of ``pairs`` pairs each.

    For one arm it is Student's t; for more it is simulated with 20,000 draws, to about 2 %. Where numbers of pairs
    differ, the fewest are to be given, which is on the safe side.
    """
    if arms == 1:
        return float(t_isf(alpha / 2, pairs - 1))
    rng = np.random.default_rng(seed)
    largest = []
    for _ in range(20):
        common = rng.normal(size=(_DRAWS // 20, 1, pairs))
        own = rng.normal(size=(_DRAWS // 20, arms, pairs))
        d = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
        t = d.mean(axis=2) / (d.std(axis=2, ddof=1) / np.sqrt(pairs))
        largest.append(np.abs(t).max(axis=1))
    return float(np.quantile(np.concatenate(largest), 1 - alpha))


def false_discovery_q(p: Floats) -> Floats:
    """Return q-values by Benjamini and Hochberg's method (1995); NaN (no test was possible) stays out of the family.

    Calling everything with q below 0.05 true is wrong in at most 5 % of those calls on average.
    """
    p = np.asarray(p, float)
    q = np.full(len(p), np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    steps = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1)
    return q
