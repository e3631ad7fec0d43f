"""How many seeds detect a difference, and which difference a number of seeds can detect: t tests, two-sided.

``sd`` is, for paired runs (the same seeds in both arms), the standard deviation of the paired *differences*; for
unpaired runs that of one arm's runs. With independent arms the first is sqrt(2) times the second; pairing gains
whatever the seeds have in common.

Jordan (2023) is unpaired: to detect 0.4 points at 80 % power and 5 % error takes 5 runs per arm at a standard
deviation of 0.19 points, 9 at a level of 5 % / 15 (Bonferroni for 15 pairs); at 0.56 points 32 and 59. The two-sample
t test gives all four.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from analysis.stats.distributions import chi2_isf, t_isf, two_sided_power
from analysis.stats.paired import ALPHA
from search_spaces.errors import StudyError

POWER = 0.8
_MOST_SEEDS = 1_000_000


def achieved_power(
    n: int, difference: float, sd: float, *, alpha: float = ALPHA, comparisons: int = 1, paired: bool = True
) -> float:
    """Return the chance that a t test with ``n`` seeds (per arm) finds a true ``difference``.

    ``comparisons``: size of the family that ``alpha`` is divided by (Bonferroni; Holm's method finds at least as
    much).
    """
    _check(sd, alpha, comparisons)
    if n < 2:
        return 0.0
    scale, freedom = _shape(n, paired)
    return _power(abs(difference) / sd / scale, freedom, alpha / comparisons)


def _shape(n: int, paired: bool) -> tuple[float, int]:
    """Return the standard error in units of ``sd``, and the degrees of freedom."""
    return (math.sqrt(1 / n), n - 1) if paired else (math.sqrt(2 / n), 2 * n - 2)


def _power(noncentrality: float, freedom: int, level: float) -> float:
    """Return the chance of a t beyond either critical value; the lower is mirrored: there SciPy's own gives NaN."""
    critical = t_isf(level / 2, freedom)
    return float(two_sided_power(critical, freedom, noncentrality))


def seeds_needed(
    difference: float,
    sd: float,
    *,
    power: float = POWER,
    alpha: float = ALPHA,
    comparisons: int = 1,
    paired: bool = True,
) -> int:
    """Return the fewest seeds (per arm) with which a true ``difference`` is found with chance ``power``."""
    if not difference:
        raise StudyError(
            "`difference` is 0, but must be other than 0: no number of seeds detects a difference that is not there"
        )

    def enough(n: int) -> bool:
        return achieved_power(n, difference, sd, alpha=alpha, comparisons=comparisons, paired=paired) >= power

    high = 2
    while not enough(high):
        high *= 2
        if high > _MOST_SEEDS:
            raise StudyError(
                f"detecting a difference of {difference:g} at a spread of {sd:g} takes over {_MOST_SEEDS:,} seeds"
            )
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def smallest_difference(
    n: int,
    sd: float,
    *,
    power: float = POWER,
    alpha: float = ALPHA,
    comparisons: int = 1,
    paired: bool = True,
) -> float:
    """Return the smallest true difference that ``n`` seeds (per arm) find with chance ``power``; infinite below 2."""
    _check(sd, alpha, comparisons)
    if n < 2:
        return float("inf")
    scale, freedom = _shape(n, paired)

    def lacking(noncentrality: float) -> float:
        return _power(noncentrality, freedom, alpha / comparisons) - power

    high = 1.0
    while lacking(high) < 0:
        high *= 2
    return _root(lacking, 0.0, high) * scale * sd


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function is 0, by bisection: importing `scipy.optimize` takes a third of a plan's time."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def smallest_difference_interval(
    n: int,
    sd: float,
    *,
    confidence: float = 0.95,
    power: float = POWER,
    comparisons: int = 1,
    pairs: int | None = None,
) -> tuple[float, float]:
    """Return the interval of `smallest_difference` of ``n`` pairs whose spread ``sd`` was estimated from ``pairs``.

    None: from the ``n`` pairs themselves. The smallest difference is proportional to the spread, so its interval is
    that of the spread (`sd_interval`). With 3 pairs it reaches from 0.5 to 6.3 times the point estimate.
    """
    low, high = sd_interval(sd, n if pairs is None else pairs, 1 - confidence)
    each = smallest_difference(n, 1.0, power=power, comparisons=comparisons)
    return low * each, high * each


def _check(sd: float, alpha: float, comparisons: int) -> None:
    if not sd > 0:
        raise StudyError(f"`sd` is {sd:g}, but must be above 0")
    if not 0 < alpha < 1 or comparisons < 1:
        raise StudyError(
            f"`alpha` is {alpha:g} over {comparisons} comparisons, but must be within 0 and 1 over 1 or more"
        )


def sd_interval(sd: float, n: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Return the chi-squared interval of a normal spread seen as ``sd`` in ``n`` values."""
    low, high = chi2_isf([alpha / 2, 1 - alpha / 2], n - 1)
    return float(sd * np.sqrt((n - 1) / low)), float(sd * np.sqrt((n - 1) / high))
