"""Simulated rates of findings about intervals, power and repeated looks, before and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from analysis.stats.effects import bootstrap_interval
from analysis.stats.paired import ALPHA, compare_differences
from analysis.stats.power import smallest_difference, smallest_difference_interval
from analysis.stats.sequential import SequentialPlan, decide, default_looks, trainings_used
from analysis.stats.simultaneous import simultaneous_intervals
from bench.verdict_simulations import DIRECTED, Change, Rate

MIX, ROPE, MOST = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0), 0.5, 20
PLANS = {
    "default": SequentialPlan(default_looks(MOST), rope=ROPE),
    "every seed from 4, quadratic, futility 0.07": SequentialPlan(tuple(range(4, 21)), futility=0.07, rope=ROPE),
    "4, 6, 9, 13, 20; O'Brien-Fleming, no futility": SequentialPlan(
        (4, 6, 9, 13, 20), "obrien_fleming", futility=0, rope=ROPE
    ),
    "4, 6, 9, 13, 20; O'Brien-Fleming, futility 0.1": SequentialPlan((4, 6, 9, 13, 20), "obrien_fleming", rope=ROPE),
    "4, 6, 9, 13, 20; Pocock, futility 0.1": SequentialPlan((4, 6, 9, 13, 20), "pocock", rope=ROPE),
}


def added_seeds(looks: Sequence[int], *, studies: int, seed: int = 0) -> Change:
    """Return how often an equal arm is called different at any look: by the t test of each look, by the rule.

    The t test has ten times as many studies, since all of them are one call; the rule has the first of them.
    """
    d = np.random.default_rng(seed).normal(size=(10 * studies, looks[-1]))
    p = np.array([stats.ttest_1samp(d[:, :look], 0, axis=1).pvalue for look in looks])
    plan = SequentialPlan(tuple(looks), futility=0)
    by_rule = [decide(row[None], plan)[0].state in DIRECTED for row in d[:studies]]
    return Change(Rate.of((p < ALPHA).any(axis=0)), Rate.of(by_rule))


def pairing(correlation: float, *, studies: int, effect: float = 2.0, n: int = 5, seed: int = 0) -> Change:
    """Return the power of Welch's test and of the paired one where arms have this correlation over seeds."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(studies, 1, n))
    runs = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=(studies, 2, n))
    arm, reference = runs[:, 1] + effect, runs[:, 0]
    unpaired = stats.ttest_ind(arm, reference, axis=1, equal_var=False).pvalue < ALPHA
    paired = stats.ttest_rel(arm, reference, axis=1).pvalue < ALPHA
    return Change(Rate.of(unpaired), Rate.of(paired))


def split_of_the_data(*, studies: int, share: float = 0.5, n: int = 5, seed: int = 0) -> Change:
    """Return the coverage of 95 % intervals over splits where the split is one draw, and where it follows the seed.

    ``share``: of the variance of a difference that is due to the split.
    """
    rng = np.random.default_rng(seed)
    own = np.sqrt(1 - share) * rng.normal(size=(studies, n))
    covered = []
    for splits in (1, n):
        found = compare_differences(own + np.sqrt(share) * rng.normal(size=(studies, splits)))
        covered.append(Rate.of((found.low <= 0) & (found.high >= 0)))
    return Change(*covered)


def whole_table(*, studies: int, n: int = 5, arms: int = 6, seed: int = 0) -> Change:
    """Return how often all intervals of a table hold the truth: single 95 % ones, and max-t ones."""
    rng = np.random.default_rng(seed)
    single, together = [], []
    for _ in range(studies):
        values = rng.normal(size=(arms + 1, n))
        found = compare_differences(values[1:] - values[0])
        single.append(((found.low <= 0) & (found.high >= 0)).all())
        low, high = simultaneous_intervals(values, 0)
        together.append(((low <= 0) & (high >= 0)).all())
    return Change(Rate.of(single), Rate.of(together))


def bootstrap_coverage(*, studies: int, n: int = 5, seed: int = 0) -> Change:
    """Return the coverage of BCa intervals and of t intervals of normal differences."""
    d = np.random.default_rng(seed).normal(size=(studies, n))
    bca = [low <= 0 <= high for low, high, _ in (bootstrap_interval(row) for row in d)]
    found = compare_differences(d)
    return Change(Rate.of(bca), Rate.of((found.low <= 0) & (found.high >= 0)))


def smallest_difference_coverage(*, studies: int, n: int = 3, seed: int = 0) -> Change:
    """Return how often the printed smallest difference is right: the figure within 20 %, and its interval."""
    true = smallest_difference(n, 1.0)
    spreads = np.random.default_rng(seed).normal(size=(studies, n)).std(axis=1, ddof=1)
    ends = [smallest_difference_interval(n, float(sd)) for sd in spreads]
    return Change(Rate.of(np.abs(spreads - 1) < 0.2), Rate.of([low <= true <= high for low, high in ends]))


def sequential_line(name: str, effects: Sequence[float], *, studies: int) -> list[str]:
    """Return error, power and trainings of a plan (or of the fixed design) on arms with these effects."""
    rng = np.random.default_rng(11)
    true = np.asarray(effects, float)
    wrong, found, used = np.zeros((3, studies))
    for study in range(studies):
        noise = rng.normal(size=(len(true), MOST)) - rng.normal(size=(1, MOST))
        d = true[:, None] + noise / np.sqrt(2)
        if name == "fixed":
            states, used[study] = compare_differences(d, rope=ROPE).verdict.tolist(), (len(true) + 1) * MOST
        else:
            decisions = decide(d, PLANS[name])
            states, used[study] = [one.state for one in decisions], trainings_used(decisions)
        wrong[study] = any(_is_wrong(state, effect) for state, effect in zip(states, true, strict=True))
        found[study] = sum(state == "better" for state, effect in zip(states, true, strict=True) if effect > 0)
    arms = int((true > 0).sum())
    share = used / ((len(true) + 1) * MOST)
    power = str(Rate.of(found, arms)) if arms else "–"
    return [str(Rate.of(wrong)), power, f"{share.mean():.3f} ± {share.std() / np.sqrt(studies):.3f}"]


def _is_wrong(state: str, effect: float) -> bool:
    """Return whether a decision is a false claim of a difference, of its direction, or of equivalence."""
    if state in DIRECTED:
        return effect == 0 or state == "worse"
    return state == "equivalent" and abs(effect) >= ROPE
