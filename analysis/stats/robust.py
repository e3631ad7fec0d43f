"""Checks of a paired t test that do not need normal noise: studentised bootstrap, Welch's test, correlation, shape.

Pure functions of arrays. What follows from them for a verdict is in `analysis.stats.verdicts`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.stats.distributions import t_isf, t_sf
from analysis.stats.paired import Floats

Ints = NDArray[np.int64]
RESAMPLES = 1999
_DRAWS = 20_000
SUSPICIOUS = 0.01
"""Level of the tests of shape: under normal noise each raises a needless warning in at most 1 % of comparisons."""
FEWEST_FOR_SKEWNESS = 8
FEWEST_FOR_SHAPE = 3
FEWEST_FOR_BOOTSTRAP = 4
"""Pairs from which the studentised bootstrap can reach 5 %: of 3 values, every ninth resample has no spread."""


def studentised_bootstrap_p(differences: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Return the two-sided bootstrap-t p of a mean of 0 (Efron and Tibshirani 1993, chapter 16).

    p = (1 + number of resamples with |t*| >= |t|) / (1 + resamples), where t* is the t of a resample about the mean
    that was observed. A resample without spread counts as beyond. NaN below 3 values or without spread.
    """
    n = len(differences)
    if n < FEWEST_FOR_SHAPE or np.ptp(differences) <= 1e-12:
        return float("nan")
    observed = abs(differences.mean()) / (differences.std(ddof=1) / np.sqrt(n))
    drawn = differences[np.random.default_rng(seed).integers(0, n, (resamples, n))]
    spread = drawn.std(axis=1, ddof=1) / np.sqrt(n)
    shift = np.abs(drawn.mean(axis=1) - differences.mean())
    beyond = shift >= observed * spread
    return float((1 + beyond.sum()) / (1 + resamples))


def welch(x: Floats, y: Floats, alpha: float = 0.05) -> tuple[float, float, float]:
    """Return p, low and high of Welch's unpaired test of mean(x) - mean(y); NaN where an arm has below 2 values.

    NaN values are left out of each arm by itself. Without any spread all three are NaN.
    """
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    if min(len(x), len(y)) < 2 or x.var() + y.var() <= 1e-24:
        return (float("nan"),) * 3
    difference = float(x.mean() - y.mean())
    p, se, freedom = welch_test(difference, (x.var(ddof=1), y.var(ddof=1)), (len(x), len(y)))
    half = float(t_isf(alpha / 2, freedom) * se)
    return float(p), difference - half, difference + half


def welch_test(difference: Any, variances: tuple[Any, Any], counts: tuple[Any, Any]) -> tuple[Any, Any, Any]:
    """Return p, the standard error and the degrees of freedom of Welch's test, element by element.

    ``difference``: of the means of two arms; ``variances``: unbiased, and ``counts``: those of their values.
    """
    parts = [variance / n for variance, n in zip(variances, counts, strict=True)]
    squared = parts[0] + parts[1]
    freedom = squared**2 / sum(part**2 / (n - 1) for part, n in zip(parts, counts, strict=True))
    se = np.sqrt(squared)
    return 2 * t_sf(np.abs(difference) / se, freedom), se, freedom


def correlation(x: Floats, y: Floats) -> float:
    """Return Pearson's correlation of two arms over their common seeds; NaN below 3 pairs or without spread.

    Pairing by seed gains where it is clearly above 0: the variance of a difference is then 2 (1 - correlation) times
    that of a run.
    """
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < FEWEST_FOR_SHAPE or min(np.ptp(x[both]), np.ptp(y[both])) <= 1e-12:
        return float("nan")
    return float(np.corrcoef(x[both], y[both])[0, 1])


def spread_ratio_p(x: Floats, y: Floats) -> float:
    """Return the two-sided p of the F test of equal variances; NaN below 3 values or without spread."""
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    if min(len(x), len(y)) < FEWEST_FOR_SHAPE or min(np.ptp(x), np.ptp(y)) <= 1e-12:
        return float("nan")
    ratio = x.var(ddof=1) / y.var(ddof=1)
    tail = special.fdtrc(len(x) - 1, len(y) - 1, ratio)
    return float(2 * min(tail, 1 - tail))


def outlier_p(values: Floats) -> float:
    """Return the p of Grubbs' test for one outlier on either side (1950), by Bonferroni; NaN below 3 values.

    With G the largest distance from the mean in standard deviations, t^2 = n (n - 2) G^2 / ((n - 1)^2 - n G^2) has a t
    distribution with n - 2 degrees of freedom for a given value; p is 2 n times its upper tail.
    """
    values = values[np.isfinite(values)]
    n = len(values)
    if n < FEWEST_FOR_SHAPE or np.ptp(values) <= 1e-12:
        return float("nan")
    g2 = np.max(np.abs(values - values.mean())) ** 2 / values.var(ddof=1)
    rest = (n - 1) ** 2 - n * g2
    t = np.sqrt(n * (n - 2) * g2 / rest) if rest > 1e-12 else np.inf
    return float(min(1.0, 2 * n * special.stdtr(n - 2, -t)))


def skewness_p(values: Floats) -> float:
    """Return the two-sided p of D'Agostino's test of skewness (1970); NaN below 8 values or without spread.

    Written out because SciPy's takes milliseconds a call.
    """
    n = len(values)
    if n < FEWEST_FOR_SKEWNESS or np.ptp(values) <= 1e-12:
        return float("nan")
    centred = values - values.mean()
    skew = np.mean(centred**3) / np.mean(centred**2) ** 1.5
    y = skew * np.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    kurtosis = 3 * (n**2 + 27 * n - 70) * (n + 1) * (n + 3) / ((n - 2) * (n + 5) * (n + 7) * (n + 9))
    w2 = np.sqrt(2 * (kurtosis - 1)) - 1
    z = np.arcsinh(y / np.sqrt(2 / (w2 - 1))) / np.sqrt(0.5 * np.log(w2))
    return float(2 * special.ndtr(-abs(z)))


def pooled_skewness(values: Floats) -> tuple[float, float]:
    """Return the mean skewness of the rows of ``values`` and the two-sided p of "they are not skewed".

    ``values``: (arms, seeds), NaN where there is none. One row of a few seeds hardly shows its skewness; all rows
    together do. Each row's is G1 = sqrt(n (n - 1)) / (n - 2) m3 / m2^1.5, which under normal noise has mean 0 and
    variance 6 n (n - 1) / ((n - 2) (n + 1) (n + 3)); their mean is compared with a normal distribution. Rows below 3
    values or without spread are left out; (0, 1) where none remains.
    """
    rows = [row[np.isfinite(row)] for row in values]
    rows = [row for row in rows if len(row) >= FEWEST_FOR_SHAPE and np.ptp(row) > 1e-12]
    if not rows:
        return 0.0, 1.0
    n = np.array([len(row) for row in rows], float)
    moments = np.array([[np.mean((row - row.mean()) ** power) for power in (2, 3)] for row in rows])
    g = np.sqrt(n * (n - 1)) / (n - 2) * moments[:, 1] / moments[:, 0] ** 1.5
    variance = 6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3))
    z = g.sum() / np.sqrt(variance.sum())
    return float(g.mean()), float(2 * special.ndtr(-abs(z)))


def skewed_t_p(t: Floats, n: Ints, skewness: float) -> Floats:
    """Return two-sided p of t statistics of ``n`` values each, drawn from a distribution of this skewness.

    The distribution is a shifted gamma distribution (Pearson's type III), which at skewness 0 is the normal one; the
    skewness is rounded to a quarter and limited to 4. p is twice the smaller tail of 20,000 simulated t. NaN below 2
    values or where t is.
    """
    step = int(np.clip(round(skewness * 4), -16, 16))
    p = np.full(len(t), np.nan)
    for place in np.flatnonzero(np.isfinite(t) & (n >= 2)):
        drawn = _skewed_t(int(n[place]), step)
        below, above = np.searchsorted(drawn, t[place], "right"), len(drawn) - np.searchsorted(drawn, t[place], "left")
        p[place] = min(1.0, 2 * (1 + min(below, above)) / (1 + len(drawn)))
    return p


@lru_cache(maxsize=128)
def _skewed_t(n: int, step: int) -> Floats:
    """Return simulated t statistics of a true mean, sorted, for skewness ``step`` / 4."""
    rng = np.random.default_rng(0)
    if step == 0:
        drawn = rng.normal(size=(_DRAWS, n))
    else:
        shape = 4 / (step / 4) ** 2
        drawn = np.sign(step) * (rng.gamma(shape, size=(_DRAWS, n)) - shape)
    return np.sort(drawn.mean(axis=1) / drawn.std(axis=1, ddof=1) * np.sqrt(n))


def shape_warnings(x: Floats, y: Floats) -> list[str]:
    """Return in words what about two arms' runs speaks against a t test: unequal spread, an outlier, skewness.

    ``x`` and ``y``: values by seed, NaN where there is none. Empty where nothing is suspicious at the 1 % level.
    """
    found = []
    if spread_ratio_p(x, y) < SUSPICIOUS:
        ratio = float(np.nanstd(x, ddof=1) / np.nanstd(y, ddof=1))
        found.append(f"its runs vary {max(ratio, 1 / ratio):.1f} times as {'much' if ratio > 1 else 'little'}")
    difference = (x - y)[np.isfinite(x - y)]
    if outlier_p(difference) < SUSPICIOUS:
        found.append("one seed is an outlier")
    elif len(difference) >= FEWEST_FOR_SKEWNESS and skewness_p(difference) < SUSPICIOUS:
        found.append("the differences are skewed")
    return found
