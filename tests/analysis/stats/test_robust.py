from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.stats.robust import (
    correlation,
    outlier_p,
    pooled_skewness,
    shape_warnings,
    skewed_t_p,
    skewness_p,
    spread_ratio_p,
    studentised_bootstrap_p,
    welch,
)

NAN = float("nan")


@pytest.mark.parametrize(("n", "m"), [(2, 5), (7, 3), (20, 20)])
def test_welch_is_scipys(n: int, m: int):
    rng = np.random.default_rng(n)
    x, y = rng.normal(0.3, 1, n), rng.normal(0, 3, m)
    expected = stats.ttest_ind(x, y, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert welch(np.r_[x, NAN], y) == pytest.approx((expected.pvalue, interval.low, interval.high))


def test_figures_that_need_more_runs_or_some_spread_are_missing():
    one, flat = np.array([1.0]), np.ones(4)
    assert np.isnan(welch(one, flat)).all()
    assert np.isnan(welch(flat, flat)).all()
    assert np.isnan([correlation(flat, np.arange(4.0)), spread_ratio_p(flat, np.arange(4.0)), outlier_p(flat)]).all()
    assert np.isnan(studentised_bootstrap_p(flat))


def test_bootstrap_p_is_that_of_all_resamples_by_enumeration():
    d = np.array([0.4, 1.0, 1.9, 2.2])
    n = len(d)
    every = d[np.stack(np.meshgrid(*[np.arange(n)] * n), -1).reshape(-1, n)]
    t = abs(d.mean()) / d.std(ddof=1)
    beyond = np.abs(every.mean(axis=1) - d.mean()) >= t * every.std(axis=1, ddof=1)
    exact = beyond.mean()
    assert studentised_bootstrap_p(d, resamples=20_000) == pytest.approx(exact, abs=4 * np.sqrt(exact / 20_000))


def test_correlation_is_numpys_over_the_common_seeds():
    x, y = np.array([1.0, 2.0, 4.0, NAN, 3.0]), np.array([2.0, 2.5, 3.0, 9.0, 4.0])
    seen = np.isfinite(x)
    assert correlation(x, y) == pytest.approx(np.corrcoef(x[seen], y[seen])[0, 1])


def test_spread_ratio_p_by_the_f_distribution():
    rng = np.random.default_rng(4)
    x, y = rng.normal(0, 3, 6), rng.normal(0, 1, 8)
    upper = stats.f.sf(x.var(ddof=1) / y.var(ddof=1), 5, 7)
    assert spread_ratio_p(x, y) == pytest.approx(2 * min(upper, 1 - upper))
    assert spread_ratio_p(x, y) == pytest.approx(spread_ratio_p(y, x))


def test_grubbs_test_has_the_published_critical_value():
    # Grubbs (1969): at n = 7, one-sided 2.5 % (two-sided 5 %), G = 2.020.
    def values(outlier: float) -> np.ndarray:
        rest = np.array([-1.2, -0.5, -0.1, 0.1, 0.5, 1.2])
        return np.r_[rest, outlier]

    def g(x: np.ndarray) -> float:
        return float(np.abs(x - x.mean()).max() / x.std(ddof=1))

    low, high = 1.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if g(values(middle)) < 2.020 else (low, middle)
    assert outlier_p(values(low)) == pytest.approx(0.05, abs=0.001)


@pytest.mark.parametrize("n", [8, 12, 40])
def test_skewness_p_is_scipys(n: int):
    values = np.random.default_rng(n).exponential(size=n)
    assert skewness_p(values) == pytest.approx(stats.skewtest(values).pvalue)
    assert np.isnan(skewness_p(values[:7]))


def test_shape_warnings_name_what_they_saw_and_are_rare_under_normal_noise():
    x = np.array([0.1, -0.2, 0.15, -0.05, 0.0, 0.12, -0.11, 0.02])
    found = shape_warnings(50 * x, x[::-1])
    assert found[0] == "its runs vary 50.0 times as much"
    assert shape_warnings(x, 50 * x[::-1])[0] == "its runs vary 50.0 times as little"
    assert "one seed is an outlier" in shape_warnings(x + np.r_[9.0, np.zeros(7)], x[::-1])
    rng = np.random.default_rng(5)
    warned = [bool(shape_warnings(*rng.normal(size=(2, n)))) for n in (3, 5, 10) for _ in range(400)]
    assert np.mean(warned) < 0.035


def test_pooled_skewness_is_the_mean_of_scipys_with_a_level_of_five_percent():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(6, 12))
    values[1, 0] = np.nan
    g = [stats.skew(row[np.isfinite(row)], bias=False) for row in values]
    mean, p = pooled_skewness(values)
    assert mean == pytest.approx(np.mean(g))
    assert p < 0.05
    assert pooled_skewness(-values)[0] == pytest.approx(-mean)
    assert pooled_skewness(np.full((3, 2), 1.0)) == (0, 1)
    below = np.mean([pooled_skewness(rng.normal(size=(4, 6)))[1] < 0.05 for _ in range(1500)])
    assert below == pytest.approx(0.05, abs=0.02)


def test_p_of_a_skewed_t_is_students_without_skewness_and_exact_for_exponential_values():
    t, n = np.array([-3.0, 0.5, 2.6, np.nan]), np.full(4, 6)
    np.testing.assert_allclose(skewed_t_p(t, n, 0.0)[:3], 2 * stats.t.sf(np.abs(t[:3]), 5), rtol=0.1)
    assert np.isnan(skewed_t_p(t, n, 0.0)[3])
    # A long tail on the upper side makes large negative t common: here a sample of exponential values (skewness 2).
    drawn = np.random.default_rng(1).exponential(size=(40_000, 6)) - 1
    low = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1) * np.sqrt(6)
    assert skewed_t_p(t[:1], n[:1], 2.0)[0] == pytest.approx(2 * np.mean(low <= -3), rel=0.1)
    assert skewed_t_p(-t[:1], n[:1], -2.0)[0] == pytest.approx(skewed_t_p(t[:1], n[:1], 2.0)[0])
