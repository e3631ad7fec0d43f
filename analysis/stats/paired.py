"""Paired comparisons as pure functions of arrays: t interval, exact sign flips, Holm, TOST, verdict.

Pairing by seed: runs of one seed share the split and the random streams, so what a seed does to both arms cancels in
their difference.

Which p gives the verdict. Two tests are computed. The exact sign-flip permutation test (Fisher 1935) assumes only that
under the null a difference is as likely to be positive as negative; but with n pairs it cannot give a p below 2 / 2^n.
At the customary 5 seeds that is 0.0625, so a verdict resting on it could never be "better", however large the effect.
The paired t test assumes that differences are normal. A difference of two accuracies is a mean over hundreds of test
images or more, which is near enough to normal, and where differences are symmetric with heavy tails the t test errs to
the safe side (Efron 1969). So the t test's p, corrected by Holm's method (1979) over the family of comparisons in one
table, gives the verdict and holds the family-wise error at 5 %; the permutation p is shown beside it, and from 6 pairs
on it can confirm by itself.

No spread. When all differences are equal t is undefined, and a standard deviation of 0 is not plausible. Where the
metric has a known resolution (an accuracy over N images changes in steps of 1 / N), the standard deviation is never
taken as less than that step. Where it has none, the exact test takes the t test's place, for the difference and for
equivalence, and no interval is given.

Three questions, three tests. Is there a difference (``p_t``)? Is it smaller than the region of practical equivalence,
the rope (``equivalent_p``, two one-sided t tests)? Is it larger than the rope (``beyond_p``, the minimum-effect test of
Murphy and Myors 1999)? Each is corrected by Holm over the rows. A difference can be real and yet smaller than the rope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.distributions import t_cdf, t_isf, t_sf

Floats = NDArray[np.float64]
ALPHA = 0.05
MOST_EXACT = 12
"""Pairs up to which the sign-flip test runs through all 2^n sign patterns; above, its p is the t test's."""
NO_SPREAD = 1e-12
"""A standard deviation of at most so many times the mean (or 1) is taken as none."""


@dataclass(frozen=True)
class PairedEffects:
    """Comparisons, one entry each. NaN where a figure cannot be had from that many pairs."""

    n: NDArray[np.int64]
    difference: Floats
    sd: Floats
    low: Floats
    high: Floats
    p: Floats
    p_t: Floats
    p_holm: Floats
    equivalent_p: Floats
    equivalent_holm: Floats
    beyond_p: Floats
    beyond_holm: Floats
    low90: Floats
    high90: Floats
    verdict: NDArray[np.str_]


def compare_differences(
    differences: Floats,
    *,
    rope: float | None = None,
    alpha: float = ALPHA,
    higher_is_better: bool = True,
    resolution: float = 0.0,
) -> PairedEffects:
    """Test paired differences, shape (comparisons, pairs), NaN where a pair is missing; one row is one comparison.

    Intervals are 1 - ``alpha`` each (not corrected for the family), and 1 - 2 ``alpha`` in ``low90`` and ``high90``:
    the interval that lies inside the rope exactly where the uncorrected equivalence test finds equivalence. Holm's
    correction is over the rows. ``rope`` is the region of practical equivalence; None: equivalence is not tested.
    ``resolution`` is the smallest step of the metric; no standard deviation is taken as less. 0: not known.
    """
    d = np.asarray(differences, float)
    d = np.where(np.isfinite(d), d, np.nan)
    n = np.isfinite(d).sum(axis=1)
    mean = _over_pairs(np.nansum(d, axis=1), n, least=1)
    sd = np.sqrt(_over_pairs(np.nansum((d - mean[:, None]) ** 2, axis=1), n - 1, least=1))
    sd = np.maximum(sd, resolution)
    flat = sd <= NO_SPREAD * np.maximum(1, np.abs(mean))
    se = np.where(flat, np.nan, sd / np.sqrt(np.maximum(n, 1)))
    freedom = np.maximum(n - 1, 1)
    half, half90 = (t_isf(tail, freedom) * se for tail in (alpha / 2, alpha))
    exact = np.array([sign_flip_p(row[np.isfinite(row)]) for row in d])
    p_t = np.where(flat, equal_signs_p(mean, n), 2 * t_sf(np.abs(mean) / se, freedom))
    equivalent = _equivalent_p(mean, se, freedom, n, flat, rope)
    beyond = _beyond_p(mean, se, freedom, n, flat, rope)
    p_holm, equivalent_holm = holm(p_t), holm(equivalent)
    return PairedEffects(
        n=n,
        difference=mean,
        sd=sd,
        low=mean - half,
        high=mean + half,
        p=np.where(n > MOST_EXACT, p_t, exact),
        p_t=p_t,
        p_holm=p_holm,
        equivalent_p=equivalent,
        equivalent_holm=equivalent_holm,
        beyond_p=beyond,
        beyond_holm=holm(beyond),
        low90=mean - half90,
        high90=mean + half90,
        verdict=_verdict(mean if higher_is_better else -mean, p_holm < alpha, equivalent_holm < alpha),
    )


def equal_signs_p(mean: Floats, n: NDArray[np.int64]) -> Floats:
    """Return the exact sign-flip p of ``n`` equal differences: 2 / 2^n, or 1 where all are 0; NaN for no pair."""
    p = np.where(np.abs(mean) > NO_SPREAD, np.minimum(2 * 0.5**n, 1), 1.0)
    return np.where(n > 0, p, np.nan)


def one_sided(p: float, as_expected: bool) -> float:
    """Return the p of a test in one direction from that of a two-sided one; ``as_expected``: the result has it."""
    return p / 2 if as_expected else 1 - p / 2


def _over_pairs(total: Floats, count: NDArray[np.int64], least: int) -> Floats:
    return np.where(count >= least, total / np.maximum(count, 1), np.nan)


def _verdict(gain: Floats, differs: NDArray[np.bool_], same: NDArray[np.bool_]) -> NDArray[np.str_]:
    """A difference shown to be smaller than what matters is "equivalent", though it may be shown to be there."""
    return np.select([same, differs & (gain > 0), differs], ["equivalent", "better", "worse"], "undecided")


def sign_flip_p(differences: Floats) -> float:
    """Return the exact two-sided p of the mean over all 2^n sign patterns; NaN for no pairs or more than MOST_EXACT."""
    n = len(differences)
    if not 1 <= n <= MOST_EXACT:
        return float("nan")
    signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    sums = np.abs(signs @ differences)
    return float(np.mean(sums >= sums[0] - NO_SPREAD * max(1.0, sums[0])))


def _equivalent_p(
    mean: Floats,
    se: Floats,
    freedom: NDArray[np.int64],
    n: NDArray[np.int64],
    flat: NDArray[np.bool_],
    rope: float | None,
) -> Floats:
    """Return the p of two one-sided t tests (Schuirmann 1987): the larger of those of "<= -rope" and ">= rope"."""
    if rope is None or rope <= 0:
        return np.full(len(mean), np.nan)
    below, above = t_sf((mean + rope) / se, freedom), t_cdf((mean - rope) / se, freedom)
    no_spread = np.where(np.abs(mean) < rope, 0.5**n, 1.0)
    return np.where(flat, no_spread, np.maximum(below, above))


def _beyond_p(
    mean: Floats,
    se: Floats,
    freedom: NDArray[np.int64],
    n: NDArray[np.int64],
    flat: NDArray[np.bool_],
    rope: float | None,
) -> Floats:
    """Return the p of "the true difference is within the rope", the largest over that region (at its edge).

    At a rope of 0 it is the two-sided t test. The noncentral part is replaced by a shifted t, which errs little and
    on the safe side.
    """
    if rope is None or rope <= 0:
        return np.full(len(mean), np.nan)
    size = np.abs(mean)
    p = t_sf((size - rope) / se, freedom) + t_sf((size + rope) / se, freedom)
    no_spread = np.where(size > rope, np.minimum(2 * 0.5**n, 1), 1.0)
    return np.where(flat, no_spread, np.minimum(p, 1))


def holm(p: Floats) -> Floats:
    """Return p-values by Holm's step-down method (1979); NaN (no test was possible) stays out of the family.

    Written out because statsmodels' `multipletests` collects garbage at each call, which takes far longer than the
    rest.
    """
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected
