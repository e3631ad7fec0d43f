"""Simulated studies with a known truth: how often verdicts are wrong, before and after the rules that withhold them.

"Before" is the paired t test with Holm's correction alone (for claims: any better or worse contradicts "equivalent");
"after" is `analysis.stats.verdicts.judge` and `analysis.stats.claims.claim_outcome`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats.claims import OUTCOMES, claim_outcome
from analysis.stats.collapse import find_collapses
from analysis.stats.paired import ALPHA, compare_differences
from analysis.stats.verdicts import judge

Values = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int, int], Values]
DIRECTED = ("better", "worse")
COLLAPSE_SHARE, COLLAPSE_DEPTH = 0.15, 8.0


@dataclass(frozen=True)
class Rate:
    """A share of simulated outcomes with its Monte-Carlo standard error."""

    rate: float
    error: float

    @classmethod
    def of(cls, hits: ArrayLike, outcomes: ArrayLike = 1) -> Self:
        """Return the share over all studies from the hits and the outcomes of each.

        Outcomes of one study depend on each other: its arms share a reference, and Holm's method. So the error is that
        of a ratio of sums over studies; with as many outcomes in each it is the standard error of the studies' shares.
        """
        hit, of = np.broadcast_arrays(np.asarray(hits, float), np.asarray(outcomes, float))
        rate = float(hit.sum() / of.sum())
        residuals = (hit - rate * of) / of.mean()
        return cls(rate, max(float(residuals.std(ddof=1) / np.sqrt(len(residuals))), 1 / float(of.sum())))

    def __str__(self) -> str:
        return f"{self.rate:.3f} ± {self.error:.3f}"


@dataclass(frozen=True)
class Change:
    """A rate before and after."""

    before: Rate
    after: Rate


def normal(rng: np.random.Generator, arms: int, n: int) -> Values:
    return rng.normal(size=(arms + 1, n))


def heavy_tailed(rng: np.random.Generator, arms: int, n: int) -> Values:
    return rng.standard_t(3, size=(arms + 1, n))


def lognormal(rng: np.random.Generator, arms: int, n: int) -> Values:
    """Lognormal arms of mean 0 against a normal reference: skewed differences."""
    values: Values = np.exp(rng.normal(size=(arms + 1, n))) - np.exp(0.5)
    values[0] = rng.normal(size=n)
    return values


def unequal(rng: np.random.Generator, arms: int, n: int) -> Values:
    """Arms with four times the reference's standard deviation."""
    values = rng.normal(size=(arms + 1, n))
    values[1:] *= 4
    return values


def collapsing(rng: np.random.Generator, arms: int, n: int) -> Values:
    """Arms in which 15 % of runs fall by 8 standard deviations, with the mean of a reference that never does."""
    values = rng.normal(size=(arms + 1, n))
    values[1:] += COLLAPSE_SHARE * COLLAPSE_DEPTH - COLLAPSE_DEPTH * (rng.random((arms, n)) < COLLAPSE_SHARE)
    return values


def one_collapsing(rng: np.random.Generator, arms: int, n: int) -> Values:
    """The same for the first arm alone; the others are normal."""
    values = rng.normal(size=(arms + 1, n))
    values[1] += COLLAPSE_SHARE * COLLAPSE_DEPTH - COLLAPSE_DEPTH * (rng.random(n) < COLLAPSE_SHARE)
    return values


NOISES: dict[str, Noise] = {
    "normal": normal,
    "heavy tails (t, 3 df)": heavy_tailed,
    "lognormal": lognormal,
    "unequal (4 times the sd)": unequal,
    "collapsing (15 % of runs)": collapsing,
    "one arm collapsing (15 % of runs)": one_collapsing,
}


@dataclass(frozen=True)
class Errors:
    """Family-wise error before and after, and the coverage of single intervals.

    ``coverage``: of all 95 % intervals; ``kept_coverage``: of those whose verdict was not withheld and where no run of
    the table collapsed.
    """

    before: Rate
    after: Rate
    coverage: Rate
    kept_coverage: Rate | None


def rates(noise: Noise, *, n: int, arms: int, studies: int, seed: int = 0) -> Errors:
    """Return how often a study without any true difference calls one, and how often intervals hold the truth."""
    rng = np.random.default_rng([seed, n, arms])
    values = np.stack([noise(rng, arms, n) for _ in range(studies)])
    low, high, wrong = _t_tests(values)
    trusted = np.array([not find_collapses(table).any for table in values])[:, None] & np.ones((1, arms), bool)
    after = np.zeros(studies)
    for study in np.flatnonzero(wrong):  # The rules only ever withhold a verdict, so other studies need not be judged.
        judged = judge(values[study], _against_first(arms))
        after[study] = np.isin(judged.effects.verdict, DIRECTED).any()
        trusted[study] &= [not why for why in judged.withheld]
    holds = (low <= 0) & (high >= 0)
    kept = Rate.of((holds & trusted).sum(axis=1), trusted.sum(axis=1)) if trusted.sum() >= 100 else None
    return Errors(Rate.of(wrong), Rate.of(after), Rate.of(holds.sum(axis=1), arms), kept)


def _t_tests(values: Values) -> tuple[Values, Values, NDArray[np.bool_]]:
    """Return the ends of all intervals, (studies, arms), and which studies call a difference by Holm's method.

    ``values``: (studies, arms + 1, n), the reference first. All studies are tested in one call.
    """
    studies, arms = values.shape[0], values.shape[1] - 1
    found = compare_differences((values[:, 1:] - values[:, :1]).reshape(studies * arms, -1))
    smallest = found.p_t.reshape(studies, arms).min(axis=1)
    return found.low.reshape(studies, arms), found.high.reshape(studies, arms), smallest * arms < ALPHA


def least_collapse_error(
    *, n: int, arms: int, studies: int, collapsing_arms: int | None = None, power_lost: float = 0.05, seed: int = 0
) -> float:
    """Return the least error under collapsing noise of any test that loses at most ``power_lost`` of power.

    Where no run collapses, which has the probability (1 - 0.15)^(n * collapsing arms), the table is one of normal noise
    whose arms are truly better by 0.15 * 8 = 1.2 standard deviations. No test can treat the two differently, so its
    error is at least that probability times its power on such arms.
    """
    rng = np.random.default_rng([seed, n, arms])
    which = arms if collapsing_arms is None else collapsing_arms
    values = rng.normal(size=(studies, arms + 1, n))
    values[:, 1 : which + 1] += COLLAPSE_SHARE * COLLAPSE_DEPTH
    called = _t_tests(values)[2].mean()
    unseen = (1 - COLLAPSE_SHARE) ** (n * which)
    return float(unseen * max(float(called) - power_lost, 0.0))


def power(effect: float, *, n: int, arms: int, studies: int, noise: Noise = normal, seed: int = 0) -> Change:
    """Return how often an arm that is better by ``effect`` standard deviations of normal noise is called better."""
    rng = np.random.default_rng([seed, n, arms])
    before, after = np.zeros(studies), np.zeros(studies)
    for study in range(studies):
        values = noise(rng, arms, n)
        values[1:] += effect
        before[study] = (compare_differences(values[1:] - values[0]).verdict == "better").sum()
        after[study] = (judge(values, _against_first(arms)).effects.verdict == "better").sum()
    return Change(Rate.of(before, arms), Rate.of(after, arms))


def equivalence_claims(*, studies: int, seed: int = 0, share: float = 0.8, n: int = 8, sd: float = 0.6) -> Change:
    """Return how often a true claim of equivalence is contradicted: difference 0.8 rope, sd 0.6 rope, 8 seeds."""
    rng = np.random.default_rng(seed)
    before, after = np.zeros(studies), np.zeros(studies)
    for study in range(studies):
        found = compare_differences(rng.normal(share, sd, (1, n)), rope=1.0)
        before[study] = found.verdict[0] in DIRECTED
        shown: dict[str, Any] = {
            "gain": float(found.difference[0]),
            "differs": bool(found.p_holm[0] < ALPHA),
            "equivalent": bool(found.equivalent_holm[0] < ALPHA),
            "beyond": bool(found.beyond_holm[0] < ALPHA),
        }
        after[study] = claim_outcome("equivalent", **shown) == OUTCOMES[2]
    return Change(Rate.of(before), Rate.of(after))


def false_equivalence(*, n: int, arms: int, studies: int, noise: Noise = normal, seed: int = 0) -> Change:
    """Return how often a study calls an arm equivalent whose true difference is just the rope (1 sd)."""
    rng = np.random.default_rng([seed, n, arms])
    before, after = np.zeros(studies), np.zeros(studies)
    for study in range(studies):
        values = noise(rng, arms, n)
        values[1:] += 1.0
        if "equivalent" in compare_differences(values[1:] - values[0], rope=1.0).verdict:
            before[study] = 1
            after[study] = "equivalent" in judge(values, _against_first(arms), rope=1.0).effects.verdict
    return Change(Rate.of(before), Rate.of(after))


def lost_runs(side: str, *, studies: int, n: int = 10, share: float = 0.4, seed: int = 0) -> Change:
    """Return how often an equal arm is called better (or worse) where one side loses its worst runs.

    ``side``: "arm" or "reference".
    """
    rng = np.random.default_rng(seed)
    before, after = np.zeros(studies), np.zeros(studies)
    row = {"reference": 0, "arm": 1}[side]
    for study in range(studies):
        values, lost = rng.normal(size=(2, n)), np.zeros((2, n), bool)
        lost[row, np.argsort(values[row])[: int(share * n)]] = True
        values[lost] = np.nan
        if compare_differences(values[1:] - values[0]).verdict[0] in DIRECTED:
            before[study] = 1
            after[study] = judge(values, [(1, 0)], lost=lost).effects.verdict[0] in DIRECTED
    return Change(Rate.of(before), Rate.of(after))


def _against_first(arms: int) -> list[tuple[int, int]]:
    return [(arm, 0) for arm in range(1, arms + 1)]
