"""Group-sequential boundaries by alpha spending (Lan and DeMets 1983), two-sided and symmetric.

A study is looked at when a fraction t_1 < ... < t_K = 1 of its seeds is there. A spending function a(t), with a(0) = 0
and a(1) = alpha, says how much of the error may be used up by then. Under the null the cumulative sum S_k of the scores
is Brownian motion at time t_k, so the boundary c_k of Z_k = S_k / sqrt(t_k) is found from

    P(|Z_j| < c_j for j < k, |Z_k| >= c_k) = a(t_k) - a(t_(k-1))

by recursive numerical integration (Armitage, McPherson and Rowe 1969). The boundary depends only on the looks so far,
so later looks may be moved or added without an increase of the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.stats.distributions import normal_isf, normal_pdf, normal_sf
from analysis.stats.paired import Floats
from search_spaces.errors import StudyError, nearest

_GRID = 240
_FARTHEST = 12.0
_MANY_PAIRS = 60
"""Pairs from which t is near enough to normal for the boundary to be used as it is."""
Spending = Callable[[float, float], float]


def obrien_fleming(fraction: float, alpha: float) -> float:
    """Spend 2 - 2 Phi(z / sqrt(t)) on each side (Lan and DeMets 1983): hardly anything early.

    z is the upper alpha / 4 quantile, so that each side spends alpha / 2.
    """
    return float(4 * normal_sf(normal_isf(alpha / 4) / np.sqrt(fraction)))


def pocock(fraction: float, alpha: float) -> float:
    """Spend alpha ln(1 + (e - 1) t) (Lan and DeMets 1983): nearly the same boundary at each look."""
    return float(alpha * np.log(1 + (np.e - 1) * fraction))


def quadratic(fraction: float, alpha: float) -> float:
    """Spend alpha t^2 (Kim and DeMets 1987): between the other two; on few seeds the t scale needs early spending."""
    return alpha * fraction**2


SPENDING: Mapping[str, Spending] = MappingProxyType(
    {"obrien_fleming": obrien_fleming, "pocock": pocock, "quadratic": quadratic}
)
"""Name -> spending function of (information fraction, alpha)."""


@lru_cache(maxsize=1024)
def boundaries(fractions: tuple[float, ...], alpha: float, spending: str) -> tuple[float, ...]:
    """Return the critical values of |Z| at each look; infinite where nothing is left to spend.

    ``fractions``: increasing, in (0, 1]. Raises StudyError for others and for an unknown spending function.
    """
    _check(fractions, spending)
    spent = [SPENDING[spending](fraction, alpha) for fraction in fractions]
    points, density, before = np.zeros(1), np.ones(1), 0.0
    found: list[float] = []
    for fraction, step in zip(fractions, np.diff([0.0, *spent]), strict=True):
        critical = _critical(points, density, fraction, before, float(step))
        found.append(critical)
        points, density = _advance(points, density, fraction, before, critical, 0.0)
        before = fraction
    return tuple(found)


@lru_cache(maxsize=1024)
def nominal_levels(fractions: tuple[float, ...], alpha: float, spending: str) -> tuple[float, ...]:
    """Return the two-sided p below which a look rejects: the boundary on any scale, such as that of t."""
    return tuple((2 * normal_sf(boundaries(fractions, alpha, spending))).tolist())


@lru_cache(maxsize=1024)
def t_levels(looks: tuple[int, ...], alpha: float, spending: str) -> tuple[float, ...]:
    """Return the two-sided p of the t test with n - 1 degrees of freedom below which each look at n pairs rejects.

    The normal boundary carried over by its p rejects too often where looks are at few pairs: in 5.7 % in place of 5 %
    with twelve looks from 4 to 20 pairs, for the estimates of the spread differ from look to look. All levels are
    therefore multiplied by one factor, at most 1, with which simulated studies without a difference (seeded, 200,000)
    reject at any look in the share ``alpha``.
    """
    levels = np.array(nominal_levels(tuple(look / looks[-1] for look in looks), alpha, spending))
    if len(looks) == 1 or looks[0] > _MANY_PAIRS:
        return tuple(levels.tolist())
    usable = levels > 0
    crossed_at = (_null_p(looks)[:, usable] / levels[usable]).min(axis=1)
    factor = min(1.0, float(np.floor(1000 * np.quantile(crossed_at, alpha)) / 1000))
    return tuple((factor * levels).tolist())


@lru_cache(maxsize=4)
def _null_p(looks: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the p of each look (columns) in simulated studies without a difference (rows)."""
    studies = max(20_000, min(200_000, 8_000_000 // looks[-1]))
    draws = np.random.default_rng(0).normal(size=(studies, looks[-1])).astype(np.float32)
    found = np.empty((studies, len(looks)), np.float32)
    for place, n in enumerate(looks):
        part = draws[:, :n]
        t = part.mean(axis=1) / (part.std(axis=1, ddof=1) / np.sqrt(n))
        found[:, place] = 2 * special.stdtr(n - 1, -np.abs(t))
    return found


def _check(fractions: Sequence[float], spending: str) -> None:
    if spending not in SPENDING:
        known = list(SPENDING)
        raise StudyError(f"`spending` is {spending!r}, but must be one of {', '.join(known)}{nearest(spending, known)}")
    steps = np.diff([0.0, *fractions])
    if not len(fractions) or (steps <= 0).any() or fractions[-1] > 1 + 1e-12:
        raise StudyError(f"`looks` are at {list(fractions)} of the seeds, but must increase from above 0 to at most 1")


def _critical(points: Floats, density: Floats, fraction: float, before: float, step: float) -> float:
    """Return c with P(not stopped before, |Z| >= c) = ``step``."""
    spread = np.sqrt(fraction - before)

    def excess(c: float) -> float:
        edge = c * np.sqrt(fraction)
        outside = normal_sf((edge - points) / spread) + normal_sf((edge + points) / spread)
        return float(density @ outside) - step

    from scipy.optimize import brentq  # takes most of a second to import

    return float("inf") if excess(_FARTHEST) > 0 or step <= 0 else float(brentq(excess, 0, _FARTHEST, xtol=1e-10))


def _advance(
    points: Floats, density: Floats, fraction: float, before: float, critical: float, drift: float
) -> tuple[Floats, Floats]:
    """Return the grid and weights of S where the study goes on: |S| < ``critical`` sqrt(t); Gauss-Legendre weights."""
    spread, shift = np.sqrt(fraction - before), drift * (fraction - before)
    edge = min(critical, _FARTHEST) * np.sqrt(fraction)
    nodes, weights = _legendre()
    grid = nodes * edge
    moved = normal_pdf((grid[:, None] - points[None, :] - shift) / spread) / spread
    return grid, (moved @ density) * weights * edge


@lru_cache(maxsize=1)
def _legendre() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(_GRID)
    return nodes, weights


def exceedance(fractions: tuple[float, ...], bounds: tuple[float, ...], z: float, drift: float) -> float:
    """Return the chance of a result at least as extreme upwards as stopping at the last of ``fractions`` with ``z``.

    Stagewise ordering (Tsiatis, Rosner and Mehta 1984): crossing the upper boundary at an earlier look is more extreme
    than anything later. ``bounds``: critical values of the looks before the last. ``drift``: mean of Z at all seeds.
    """
    points, density, before, total = np.zeros(1), np.ones(1), 0.0, 0.0
    for place, fraction in enumerate(fractions):
        last = place == len(fractions) - 1
        edge = (z if last else bounds[place]) * np.sqrt(fraction)
        spread, shift = np.sqrt(fraction - before), drift * (fraction - before)
        total += float(density @ normal_sf((edge - points - shift) / spread))
        if not last:
            points, density = _advance(points, density, fraction, before, bounds[place], drift)
        before = fraction
    return total


def median_unbiased(fractions: tuple[float, ...], bounds: tuple[float, ...], z: float) -> float:
    """Return the drift (mean of Z at all seeds) under which a result is as often above as below what was seen.

    The plain estimate z / sqrt(t) of a study that stopped early is too far from 0 more often than not.
    """
    from scipy.optimize import brentq  # takes most of a second to import

    plain = z / np.sqrt(fractions[-1])
    reach = 12.0 / np.sqrt(fractions[0])
    return float(
        brentq(lambda drift: exceedance(fractions, bounds, z, drift) - 0.5, plain - reach, plain + reach, xtol=1e-8)
    )
