"""Wrong formulas are noticed: each change of the source below makes an independent oracle fail.

A mutant is the module's source with one substitution, executed as a module of its own. The oracles are enumeration,
published tables, SciPy's multivariate normal distribution and a plain reimplementation; they know nothing of the code.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)
PUBLISHED = {  # Jennison and Turnbull (2000), Lan and DeMets (1983): two-sided 5 %, five equally spaced looks
    "obrien_fleming": (4.877, 3.357, 2.680, 2.290, 2.031),
    "pocock": (2.438, 2.427, 2.410, 2.397, 2.386),
}


def boundary_holds(spending: Any) -> bool:
    """Published boundaries, the probability of each step by SciPy's bivariate normal, and what a level is."""
    published = all(
        np.allclose(spending.boundaries(FIVE, 0.05, name), PUBLISHED[name], atol=1e-3) for name in PUBLISHED
    )
    first, second = spending.boundaries((0.3, 1.0), 0.04, "quadratic")
    once = np.isclose(2 * stats.norm.sf(first), 0.04 * 0.3**2, rtol=1e-6)
    within = inside((first, second), np.sqrt(0.3))
    steps = np.isclose(within, 1 - 0.04, atol=1e-6)
    levels = np.allclose(spending.nominal_levels((0.3, 1.0), 0.04, "quadratic"), 2 * stats.norm.sf([first, second]))
    return bool(published and once and steps and levels)


def inside(bounds: tuple[float, float], correlation: float, drift: float = 0.0, fraction: float = 0.3) -> float:
    """Return the probability that |Z| stays within both bounds, at looks whose Z are correlated."""
    z = stats.multivariate_normal([drift * np.sqrt(fraction), drift], [[1, correlation], [correlation, 1]])
    a, b = bounds
    return float(z.cdf([a, b], lower_limit=[-a, -b], rng=np.random.default_rng(0)))


def estimate_holds(spending: Any) -> bool:
    """Return whether the chance of a more extreme result is that of two looks by SciPy, and its median is 1/2."""
    drift, bound, z = 1.3, 2.4, 1.9
    joint = stats.multivariate_normal([drift * np.sqrt(0.4), drift], [[1, np.sqrt(0.4)], [np.sqrt(0.4), 1]])
    below = joint.cdf([bound, z], lower_limit=[-bound, -np.inf], rng=np.random.default_rng(0))
    early_low = stats.norm.cdf(-bound - drift * np.sqrt(0.4))
    more = 1 - below - early_low
    found = spending.exceedance((0.4, 1.0), (bound,), z, drift)
    median = spending.median_unbiased((0.4, 1.0), (bound,), z)
    return bool(
        np.isclose(found, more, atol=1e-5)
        and np.isclose(spending.exceedance((0.4, 1.0), (bound,), z, median), 0.5, atol=1e-6)
        and np.isclose(spending.median_unbiased((0.5,), (), 2.0), 2.0 / np.sqrt(0.5), atol=1e-6)
    )


def best_of_subsets_holds(module: Any) -> bool:
    """Return whether expected bests are the means over all subsets, by enumeration, in both directions."""
    values = np.array([0.31, 0.72, 0.55, 0.55, 0.12, 0.90, 0.41])

    def enumerated(pick: Callable[[Any], float]) -> np.ndarray:
        groups = (itertools.combinations(values, k) for k in range(1, len(values) + 1))
        return np.array([np.mean([pick(subset) for subset in group]) for group in groups])

    low, high = module.expected_best_band(values, resamples=400)
    exact, band = enumerated(max), resampled(values, 400)
    return bool(
        np.allclose(module.expected_best(values), exact)
        and np.allclose(module.expected_best(values, higher_is_better=False), enumerated(min))
        and np.allclose([low, high], band)
    )


def resampled(values: np.ndarray, count: int) -> np.ndarray:
    """Return the 2.5 % and 97.5 % quantiles of expected bests of resamples, from the products of binomials."""
    n = len(values)
    drawn = np.sort(values[np.random.default_rng(0).integers(0, n, (count, n))], axis=1)
    chance = np.array([[comb(i, k - 1) / comb(n, k) for i in range(n)] for k in range(1, n + 1)])
    return np.quantile(drawn @ chance.T, [0.025, 0.975], axis=0)


def comb(n: int, k: int) -> float:
    return float(np.prod([(n - i) / (k - i) for i in range(k)]))


def decisions_hold(module: Any) -> bool:
    """Return whether states and seeds are those of a plain form of Holm's group-sequential method, without futility."""
    looks, rope, alpha = (4, 7, 12), 0.8, 0.05
    levels = importlib.import_module("analysis.stats.spending").t_levels
    plan = module.SequentialPlan(looks, futility=0.0, rope=rope, alpha=alpha)
    rng = np.random.default_rng(4)
    for effects in ((0, 0.4, 1, 2), (0, 0, 0, 0), (1.2, 1.2, -1.2, 3), (0.2, 0.1, 0.9, 0)) * 4:
        d = np.array(effects)[:, None] + 0.8 * rng.normal(size=(4, looks[-1]))
        states, used = ["continue"] * 4, [looks[-1]] * 4
        for place, look in enumerate(looks):
            seen = d[:, :look]
            t, p = stats.ttest_1samp(seen, 0, axis=1)
            below = stats.ttest_1samp(seen, -rope, axis=1, alternative="greater").pvalue
            above = stats.ttest_1samp(seen, rope, axis=1, alternative="less").pvalue
            going = [arm for arm in range(4) if states[arm] == "continue"]
            for arm in sorted(going, key=lambda arm: p[arm]):
                left = 4 - sum(state in ("better", "worse") for state in states)
                if p[arm] > levels(looks, alpha / left, plan.spending)[place]:
                    break
                states[arm] = "better" if t[arm] > 0 else "worse"
            equal = np.maximum(below, above)
            for arm in sorted(going, key=lambda arm: equal[arm]):
                left = 4 - states.count("equivalent")
                if 2 * equal[arm] > levels(looks, 2 * alpha / left, plan.spending)[place]:
                    break
                states[arm] = "equivalent"
            for arm in going:
                used[arm] = look if states[arm] != "continue" else looks[-1]
        expected = [state if state != "continue" else "undecided" for state in states]
        if [(one.state, one.seeds) for one in module.decide(d, plan)] != list(zip(expected, used, strict=True)):
            return False
    return True


Mutants = list[tuple[str, str]]
SPENDING: Mutants = [
    ("4 * normal_sf(normal_isf(alpha / 4)", "2 * normal_sf(normal_isf(alpha / 2)"),
    ("np.log(1 + (np.e - 1) * fraction)", "np.log(1 + fraction)"),
    ("return alpha * fraction**2", "return alpha * fraction"),
    ("strict=True):\n        critical", "strict=True):\n        points, density = np.zeros(1), np.ones(1)\n        critical"),
    ("        before = fraction\n    return tuple(found)", "    return tuple(found)"),
    ("float(step))", "float(step) / 2)"),
    ("(2 * normal_sf(boundaries", "(normal_sf(boundaries"),
    ("edge = c * np.sqrt(fraction)", "edge = c * fraction"),
    ("normal_sf((edge - points) / spread) + normal_sf((edge + points) / spread)",
     "normal_sf((edge - points) / spread)"),
    ("edge = min(critical, _FARTHEST) * np.sqrt(fraction)", "edge = min(critical, _FARTHEST)"),
    ("(moved @ density) * weights * edge", "(moved @ density) * weights"),
]  # fmt: skip
ESTIMATE: Mutants = [
    ("spread, shift = np.sqrt(fraction - before), drift * (fraction - before)\n        total",
     "spread, shift = np.sqrt(fraction - before), drift * fraction\n        total"),
    ("edge = (z if last else bounds[place]) * np.sqrt(fraction)", "edge = z * np.sqrt(fraction)"),
    ("_advance(points, density, fraction, before, bounds[place], drift)",
     "_advance(points, density, fraction, before, bounds[place], 0.0)"),
    ("drift) - 0.5, plain", "drift) - 0.4, plain"),
]  # fmt: skip
EXPECTED: Mutants = [
    ("weights[:, -1] = size / n", "weights[:, -1] = 1 / n"),
    ("np.maximum(i - size + 1, 0) / i", "np.maximum(i - size, 0) / i"),
    ("np.maximum(i - size + 1, 0) / i", "np.maximum(i - size + 1, 0) / n"),
    ("for i in range(n - 1, 0, -1)", "for i in range(n - 1, 1, -1)"),
    ("np.sort(values if higher_is_better else -values)", "np.sort(values)"),
    ("np.sort(values if higher_is_better else -values)", "values.copy()"),
    ("return best if higher_is_better else -best", "return best"),
    ("[alpha / 2, 1 - alpha / 2]", "[alpha, 1 - alpha]"),
    ("integers(0, len(values), (resamples, len(values)))", "integers(0, len(values), (resamples, len(values) - 1))"),
]  # fmt: skip
SEQUENTIAL: Mutants = [
    ("factor * plan.alpha / max(left, 1)", "factor * plan.alpha"),
    ("factor * plan.alpha / max(left, 1)", "factor * plan.alpha / len(states)"),
    ("if p[arm] > _levels(plan, states, decided, factor)[number]:", "if p[arm] > plan.alpha:"),
    ("if p[arm] > _levels(plan, states, decided, factor)[number]:",
     "if p[arm] > _levels(plan, states, decided, factor)[-1]:"),
    ("decided[0] if mean[arm] > 0 else decided[1]", "decided[1] if mean[arm] > 0 else decided[0]"),
    ("mean, number, plan, factor=2)", "mean, number, plan)"),
    ("np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1))", "np.sqrt(squares / np.maximum(n, 1) / np.maximum(n, 1))"),
]  # fmt: skip
CASES = [
    ("spending", boundary_holds, SPENDING),
    ("spending", estimate_holds, ESTIMATE),
    ("expected_validation", best_of_subsets_holds, EXPECTED),
    ("sequential", decisions_hold, SEQUENTIAL),
]


def changed(name: str, old: str, new: str) -> types.ModuleType:
    """Return a module of `analysis.stats` with one substitution in its source."""
    original = importlib.import_module(f"analysis.stats.{name}")
    source = Path(str(original.__file__)).read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {name}.py"
    module = types.ModuleType(f"mutant_{name}")
    # Dataclasses look their module up by name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        exec(compile(source.replace(old, new), f"mutant of {name}.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(("name", "oracle"), [case[:2] for case in CASES], ids=[case[1].__name__ for case in CASES])
def test_the_oracle_holds_for_the_code(name: str, oracle: Callable[[Any], bool]):
    assert oracle(importlib.import_module(f"analysis.stats.{name}"))


@pytest.mark.parametrize(
    ("name", "oracle", "old", "new"),
    [(name, oracle, *mutant) for name, oracle, mutants in CASES for mutant in mutants],
)
def test_a_mutant_fails(name: str, oracle: Callable[[Any], bool], old: str, new: str):
    mutant = changed(name, old, new)
    with contextlib.suppress(ValueError):  # a mutant that cannot be computed is noticed as well
        assert not oracle(mutant), f"{old} -> {new} is not noticed"
