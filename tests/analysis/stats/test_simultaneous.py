from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.stats.simultaneous import false_discovery_q, max_t_critical, simultaneous_intervals
from search_spaces.errors import StudyError

NAN = float("nan")


def test_q_is_statsmodels_and_untested_rows_stay_out():
    p = np.random.default_rng(0).beta(0.3, 1, 15)
    np.testing.assert_allclose(false_discovery_q(p), multipletests(p, method="fdr_bh")[1])
    np.testing.assert_allclose(false_discovery_q(np.array([0.04, NAN, 0.01])), [0.04, NAN, 0.02])


def test_one_comparison_has_the_t_interval():
    assert max_t_critical(6, 1) == pytest.approx(stats.t.isf(0.025, 5))
    values = np.random.default_rng(1).normal(size=(2, 6))
    low, high = simultaneous_intervals(values, 0)
    expected = stats.ttest_rel(values[1], values[0]).confidence_interval(0.95)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_with_many_pairs_the_critical_value_is_dunnetts():
    # Dunnett (1964), two-sided 5 %, infinitely many degrees of freedom: 2.21 for 2 treatments.
    assert max_t_critical(100, 2, seed=1) == pytest.approx(2.21, abs=0.05)


def test_dunnett_is_scipys():
    values = np.random.default_rng(2).normal(size=(4, 8)) + np.arange(4)[:, None]
    low, high = simultaneous_intervals(values, 0, kind="dunnett")
    expected = stats.dunnett(*values[1:], control=values[0], rng=np.random.default_rng(0)).confidence_interval(0.95)
    np.testing.assert_allclose((low, high), (expected.low, expected.high), rtol=1e-6)


def test_equal_differences_have_the_width_of_the_resolution_or_no_interval():
    values = np.array([[0.8, 0.82, 0.81, 0.8, 0.83]] * 2)
    values[1] += 0.01
    low, high = simultaneous_intervals(values, 0, resolution=0.0005)
    half = stats.t.isf(0.025, 4) * 0.0005 / np.sqrt(5)
    assert [low[0], high[0]] == pytest.approx([0.01 - half, 0.01 + half])
    assert np.isnan(simultaneous_intervals(values, 0)).all()


def test_arms_without_enough_pairs_have_no_interval_and_unknown_kinds_are_refused():
    values = np.array([[1.0, 2.0, 3.0], [2.0, NAN, NAN], [2.0, 2.5, 4.5]])
    for kind in ("max-t", "dunnett"):
        low, _ = simultaneous_intervals(values, 0, kind=kind)
        assert np.isnan(low).tolist() == [True, False]
    assert np.isnan(simultaneous_intervals(values[:2], 0)[0]).all()
    with pytest.raises(StudyError, match="max-t, dunnett"):
        simultaneous_intervals(values, 0, kind="tukey")  # type: ignore[arg-type]


def test_max_t_intervals_hold_for_the_whole_table_at_once():
    rng = np.random.default_rng(3)
    critical = max_t_critical(5, 4)
    tables = 2000
    d = rng.normal(size=(tables, 4, 5)) - rng.normal(size=(tables, 1, 5))
    t = np.abs(d.mean(axis=2)) / (d.std(axis=2, ddof=1) / np.sqrt(5))
    assert np.mean(t.max(axis=1) <= critical) == pytest.approx(0.95, abs=0.018)
    assert np.mean((t <= stats.t.isf(0.025, 4)).all(axis=1)) < 0.9  # single intervals do not
