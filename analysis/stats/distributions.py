"""The few distribution functions that nearly every verdict needs, from `scipy.special`.

They are those of `scipy.stats`, which takes 0.7 s to import: as long as all else that a plan or a status needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

_LARGE = 6.5
"""A noncentrality from which on T < 0 has a probability below 1e-10."""
Numbers = Any
"""A float or an array of floats, broadcast together."""


def t_cdf(x: Numbers, freedom: Numbers) -> Any:
    """Return P(T <= x) of Student's t."""
    return special.stdtr(freedom, x)


def t_sf(x: Numbers, freedom: Numbers) -> Any:
    """Return P(T > x) of Student's t, precise in the upper tail."""
    return special.stdtr(freedom, np.negative(x))


def t_isf(p: Numbers, freedom: Numbers) -> Any:
    """Return the x that Student's t exceeds with probability ``p``."""
    return np.negative(special.stdtrit(freedom, p))


def normal_sf(x: Numbers) -> Any:
    """Return P(Z > x) of the standard normal distribution."""
    return special.ndtr(np.negative(x))


def normal_isf(p: Numbers) -> Any:
    """Return the x that a standard normal number exceeds with probability ``p``."""
    return np.negative(special.ndtri(p))


def normal_pdf(x: Numbers) -> Any:
    """Return the density of the standard normal distribution."""
    return np.exp(-np.square(x) / 2) / np.sqrt(2 * np.pi)


def chi2_isf(p: Numbers, freedom: Numbers) -> Any:
    """Return the x that a chi-squared number exceeds with probability ``p``."""
    return special.chdtri(freedom, p)


def two_sided_power(critical: float, freedom: float, noncentrality: float) -> float:
    """Return P(|T| > critical) of the noncentral t with ``noncentrality`` >= 0, to about 1e-9."""
    inside = special.nctdtr(freedom, noncentrality, critical)
    if np.isnan(inside) and noncentrality > max(critical, _LARGE):
        inside = 0.0  # it underflows, as does the lower tail below
    below = special.nctdtr(freedom, noncentrality, -critical)
    return float(1 - inside + (0.0 if np.isnan(below) else below))
