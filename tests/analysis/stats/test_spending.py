from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.stats.spending import SPENDING, boundaries, exceedance, median_unbiased, nominal_levels, t_levels
from search_spaces.errors import StudyError

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)
PUBLISHED = {
    # Two-sided 5 %, five equally spaced looks (Jennison and Turnbull 2000; Lan and DeMets 1983).
    "obrien_fleming": (4.877, 3.357, 2.680, 2.290, 2.031),
    "pocock": (2.438, 2.427, 2.410, 2.397, 2.386),
}


@pytest.mark.parametrize("spending", PUBLISHED)
def test_boundaries_are_the_published_ones(spending: str):
    np.testing.assert_allclose(boundaries(FIVE, 0.05, spending), PUBLISHED[spending], atol=6e-4)


@pytest.mark.parametrize("spending", SPENDING)
def test_one_look_is_the_z_test_and_all_alpha_is_spent_at_the_end(spending: str):
    assert boundaries((1.0,), 0.01, spending)[0] == pytest.approx(stats.norm.isf(0.005))
    assert SPENDING[spending](1.0, 0.03) == pytest.approx(0.03)
    spent = [SPENDING[spending](t, 0.05) for t in np.linspace(0.01, 1, 50)]
    assert (np.diff(spent) > 0).all()
    smaller = [SPENDING[spending](t, 0.02) for t in np.linspace(0.01, 1, 50)]
    assert (np.array(smaller) <= spent).all()  # what Holm's method in its group-sequential form needs


def crossing_rate(bounds: tuple[float, ...], fractions: tuple[float, ...], paths: int = 40_000) -> float:
    steps = np.diff([0.0, *fractions])
    s = (np.random.default_rng(0).normal(size=(paths, len(steps))) * np.sqrt(steps)).cumsum(axis=1)
    return float((np.abs(s / np.sqrt(fractions)) >= bounds).any(axis=1).mean())


@pytest.mark.parametrize("spending", SPENDING)
def test_brownian_paths_cross_the_boundary_with_probability_alpha_and_mutants_do_not(spending: str):
    fractions = (0.15, 0.3, 0.45, 0.7, 1.0)
    found = boundaries(fractions, 0.05, spending)
    tolerance = 4 * np.sqrt(0.05 * 0.95 / 40_000)
    assert crossing_rate(found, fractions) == pytest.approx(0.05, abs=tolerance)
    steps = np.diff([0.0, *(SPENDING[spending](t, 0.05) for t in fractions)])
    mutants = {
        "fixed critical value": (1.96,) * 5,
        "no account of the earlier looks": tuple(stats.norm.isf(np.maximum(steps, 1e-12) / 2)),
        "one-sided": tuple(boundaries(fractions, 0.1, spending)),
    }
    for mutant, bounds in mutants.items():
        assert crossing_rate(bounds, fractions) != pytest.approx(0.05, abs=tolerance), mutant


def test_later_looks_do_not_change_earlier_boundaries():
    assert boundaries((0.3, 0.5, 1.0), 0.05, "quadratic")[:2] == boundaries((0.3, 0.5, 0.6, 1.0), 0.05, "quadratic")[:2]


def test_levels_are_two_sided_p_of_the_boundary():
    np.testing.assert_allclose(nominal_levels((1.0,), 0.05, "pocock"), [0.05])


def test_exceedance_is_what_simulated_paths_do():
    fractions, bounds, drift = (0.3, 0.6, 1.0), (2.5, 2.2), 1.5
    steps = np.diff([0.0, *fractions])
    rng = np.random.default_rng(1)
    s = (rng.normal(size=(100_000, 3)) * np.sqrt(steps) + drift * steps).cumsum(axis=1) / np.sqrt(fractions)
    inside = np.abs(s[:, 0]) < 2.5
    early = (s[:, 0] >= 2.5) | (inside & (s[:, 1] >= 2.2))
    still = inside & (np.abs(s[:, 1]) < 2.2)
    expected = np.mean(early | (still & (s[:, 2] >= 1.0)))
    assert exceedance(fractions, bounds, 1.0, drift) == pytest.approx(expected, abs=0.007)


def test_median_unbiased_estimate_without_earlier_looks_is_the_plain_one():
    assert median_unbiased((1.0,), (), 1.7) == pytest.approx(1.7)
    assert median_unbiased((0.25,), (), 3.0) == pytest.approx(6.0)


def test_median_unbiased_estimate_is_as_often_too_high_as_too_low():
    fractions = (0.25, 0.5, 1.0)
    bounds = boundaries(fractions, 0.05, "quadratic")
    steps, drift = np.diff([0.0, *fractions]), 2.5
    rng = np.random.default_rng(2)
    z = (rng.normal(size=(300, 3)) * np.sqrt(steps) + drift * steps).cumsum(axis=1) / np.sqrt(fractions)
    crossed = np.abs(z) >= bounds
    last = np.where(crossed.any(axis=1), crossed.argmax(axis=1), 2)
    plain = z[np.arange(len(z)), last] / np.sqrt(np.array(fractions)[last])
    assert plain.mean() > drift + 0.15
    # The estimate is above the true drift exactly where the chance of more extreme results is below one half there.
    chance = [exceedance(fractions[: k + 1], bounds[:k], row[k], drift) for k, row in zip(last, z, strict=True)]
    assert np.mean(np.array(chance) < 0.5) == pytest.approx(0.5, abs=0.1)
    for k, row, more in list(zip(last, z, chance, strict=True))[:4]:
        assert (median_unbiased(fractions[: k + 1], bounds[:k], row[k]) > drift) == (more < 0.5)


def test_wrong_looks_and_unknown_spending_are_refused():
    for looks in ((), (0.5, 0.4), (0.0, 1.0), (0.5, 1.2)):
        with pytest.raises(StudyError, match="must increase"):
            boundaries(looks, 0.05, "pocock")
    with pytest.raises(StudyError, match="did you mean 'pocock'"):
        boundaries((1.0,), 0.05, "pococ")


def share_rejected(looks, levels, studies=100_000):
    draws = np.random.default_rng(5).normal(size=(studies, looks[-1]))
    p = np.stack([stats.ttest_1samp(draws[:, :look], 0, axis=1).pvalue for look in looks], axis=1)
    return float((p <= np.array(levels)).any(axis=1).mean())


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_levels_of_the_t_test_reject_in_the_share_alpha_and_those_of_the_normal_boundary_more_often(alpha: float):
    looks = (4, 6, 9, 13, 20)
    normal = nominal_levels(tuple(look / 20 for look in looks), alpha, "quadratic")
    assert share_rejected(looks, t_levels(looks, alpha, "quadratic")) == pytest.approx(
        alpha, abs=0.0025 * alpha**0.5 / 0.22
    )
    assert share_rejected(looks, normal) > 1.08 * alpha


def test_one_look_at_the_t_test_is_at_the_full_level_and_many_pairs_need_no_factor():
    assert t_levels((5,), 0.05, "quadratic") == pytest.approx((0.05,))
    assert t_levels((100, 200), 0.05, "pocock") == nominal_levels((0.5, 1.0), 0.05, "pocock")
