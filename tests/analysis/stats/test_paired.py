from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from analysis.stats.paired import compare_differences, holm, sign_flip_p

NAN = float("nan")


def paired_effects(values, reference, **options):
    """Compare each arm (row) with the reference arm over paired seeds (columns)."""
    others = np.delete(np.arange(len(values)), reference)
    return compare_differences(values[others] - values[reference], **options)


def differences(n: int, mean: float = 0.3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, n)


def test_small_case_by_hand():
    # Mean 2, sd 1, standard error 1/sqrt(3), t = 2 sqrt(3); with 2 degrees of freedom p = 1 - t / sqrt(t^2 + 2).
    found = compare_differences(np.array([[1.0, 2.0, 3.0]]))
    t = 2 * np.sqrt(3)
    assert found.n[0] == 3
    assert found.difference[0] == pytest.approx(2)
    assert found.sd[0] == pytest.approx(1)
    assert found.p_t[0] == pytest.approx(1 - t / np.sqrt(t**2 + 2))
    assert (found.low[0], found.high[0]) == pytest.approx((2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3)))
    assert found.p[0] == pytest.approx(2 / 8)


@pytest.mark.parametrize("figure", [np.inf, -np.inf, NAN])
def test_a_difference_that_is_not_finite_is_a_missing_pair(figure: float):
    d = differences(9)
    found, expected = compare_differences(np.append(d, figure)[None]), compare_differences(d[None])
    assert found.n[0] == 9
    assert (found.p_t[0], found.low[0], found.high[0]) == (expected.p_t[0], expected.low[0], expected.high[0])
    assert found.verdict[0] == expected.verdict[0]


@pytest.mark.parametrize("n", [2, 5, 12, 30])
def test_t_test_and_interval_are_scipys(n: int):
    a, b = differences(n, 0.5, 1), differences(n, 0.0, 2)
    found = paired_effects(np.stack([b, a]), 0)
    expected = stats.ttest_rel(a, b)
    assert found.p_t[0] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("n", [2, 5, 9])
def test_sign_flip_p_is_scipys_exact_permutation_p(n: int):
    d = differences(n)
    expected = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf, axis=-1)
    assert sign_flip_p(d) == pytest.approx(expected.pvalue)


def test_sign_flip_p_counts_ties_in_spite_of_rounding():
    d = np.array([0.1, 0.2, 0.3])  # 0.1 + 0.2 - 0.3 is not 0 in floating point
    assert sign_flip_p(d) == 2 / 8
    assert sign_flip_p(np.array([0.3, -0.1, -0.2])) == 1.0


def test_five_pairs_cannot_give_a_permutation_p_below_a_sixteenth_but_a_verdict():
    found = compare_differences(np.array([[5.0, 5.1, 4.9, 5.05, 4.95]]))
    assert found.p[0] == pytest.approx(2 / 2**5)
    assert found.verdict[0] == "better"


def test_above_twelve_pairs_p_is_the_t_tests():
    found = compare_differences(differences(13)[None])
    assert found.p[0] == found.p_t[0]
    assert np.isnan(sign_flip_p(differences(13)))


@pytest.mark.parametrize("rope", [0.2, 1.0, 3.0])
def test_equivalence_is_statsmodels_tost(rope: float):
    d = differences(8)
    expected, _, _ = DescrStatsW(d).ttost_mean(-rope, rope)
    assert compare_differences(d[None], rope=rope).equivalent_p[0] == pytest.approx(expected)


def test_holm_by_hand_and_untested_rows_stay_out():
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1, made monotone.
    np.testing.assert_allclose(holm(np.array([0.04, NAN, 0.01, 0.02])), [0.04, NAN, 0.03, 0.04])
    assert np.isnan(holm(np.array([NAN]))).all()


def test_holm_is_statsmodels():
    p = np.random.default_rng(0).beta(0.3, 1, 12)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_pair_counts_only_where_both_arms_have_a_figure():
    values = np.array([[1.0, 2.0, 3.0, NAN], [2.0, 4.0, NAN, 5.0], [NAN, NAN, NAN, NAN]])
    found = paired_effects(values, 0)
    np.testing.assert_array_equal(found.n, [2, 0])
    assert found.difference[0] == pytest.approx(1.5)
    assert np.isnan(found.difference[1])
    assert list(found.verdict) == ["undecided", "undecided"]


def test_reference_need_not_be_the_first_row():
    values = np.array([[1.0, 2.0, 3.5], [0.0, 0.5, 1.0], [9.0, 8.0, 7.0]])
    np.testing.assert_allclose(paired_effects(values, 2).difference, [(-8 - 6 - 3.5) / 3, (-9 - 7.5 - 6) / 3])


def test_direction_turns_better_into_worse():
    d = np.array([[5.0, 5.1, 4.9, 5.05, 4.95]])
    assert compare_differences(d, higher_is_better=False).verdict[0] == "worse"
    assert compare_differences(-d, higher_is_better=False).verdict[0] == "better"


def test_one_pair_decides_nothing_however_large():
    found = compare_differences(np.array([[100.0], [0.0]]), rope=1.0)
    assert list(found.verdict) == ["undecided", "undecided"]
    assert np.isnan([found.low, found.high, found.p_t, found.p_holm, found.equivalent_p]).all()


def test_without_spread_the_exact_test_decides():
    step = 0.1 + 0.2 - 0.3
    assert step != 0
    few = compare_differences(np.array([[0.1 + step, 0.1, 0.1]]), rope=0.5)
    assert np.isnan(few.low[0])
    assert few.p_t[0] == pytest.approx(2 / 2**3)
    assert few.equivalent_p[0] == pytest.approx(1 / 2**3)
    assert few.verdict[0] == "undecided"
    many = compare_differences(np.full((1, 10), 0.7), rope=0.5)
    assert many.equivalent_p[0] == 1
    assert many.verdict[0] == "better"


def test_identical_results_are_equivalent_once_there_are_enough():
    assert compare_differences(np.zeros((1, 4)), rope=0.5).verdict[0] == "undecided"
    assert compare_differences(np.zeros((1, 5)), rope=0.5).verdict[0] == "equivalent"
    assert compare_differences(np.zeros((1, 5))).verdict[0] == "undecided"


def test_real_but_negligible_difference_is_equivalent():
    found = compare_differences(0.1 + 0.01 * differences(6)[None], rope=0.5)
    assert found.p_holm[0] < 0.05
    assert found.verdict[0] == "equivalent"


def test_under_the_null_errors_and_coverage_are_as_promised():
    """2,000 studies of 5 arms and 5 seeds without any effect; standard error of a 5 % rate: half a point."""
    rng = np.random.default_rng(7)
    wrong = covered = negligible = 0
    studies = 2000
    for _ in range(studies):
        values = rng.normal(0, 1, 5) + rng.normal(0, 1, (5, 5))
        found = paired_effects(values, 0)
        wrong += bool(np.isin(found.verdict, ["better", "worse"]).any())
        covered += int(((found.low <= 0) & (found.high >= 0)).sum())
    assert wrong / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)
    assert wrong / studies >= 0.02  # Holm is not so timid: four correlated comparisons
    assert covered / (4 * studies) == pytest.approx(0.95, abs=0.015)
    # At the edge of the region of equivalence, "equivalent" is a false claim: at most 5 % of studies make it.
    for _ in range(studies // 4):
        values = rng.normal(0, 1, (5, 20)) + np.array([0, 1, 1, 1, 1])[:, None]
        negligible += "equivalent" in paired_effects(values, 0, rope=1.0).verdict
    assert negligible / (studies // 4) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / (studies // 4))


def test_one_seed_never_makes_an_arm_better_or_worse():
    rng = np.random.default_rng(8)
    for _ in range(200):
        assert set(paired_effects(rng.normal(0, 9, (5, 1)), 0, rope=0.1).verdict) == {"undecided"}
