from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.stats.expected_validation import expected_best, expected_best_band
from search_spaces.errors import StudyError

VALUES = np.array([0.31, 0.72, 0.55, 0.55, 0.12, 0.90, 0.41])


def by_enumeration(values: np.ndarray) -> np.ndarray:
    subsets = (itertools.combinations(values, k) for k in range(1, len(values) + 1))
    return np.array([np.mean([max(subset) for subset in group]) for group in subsets])


def with_replacement(values: np.ndarray) -> np.ndarray:
    """The biased plug-in form: the largest of k draws with replacement."""
    n, ordered = len(values), np.sort(values)
    i, k = np.arange(1, n + 1)[None, :], np.arange(1, n + 1)[:, None]
    return ((i / n) ** k - ((i - 1) / n) ** k) @ ordered


def off_by_one(values: np.ndarray) -> np.ndarray:
    """The unbiased form with k shifted by one."""
    exact = by_enumeration(values)
    return np.r_[exact[1:], exact[-1]]


def test_expected_best_is_the_mean_over_all_subsets():
    np.testing.assert_allclose(expected_best(VALUES), by_enumeration(VALUES), rtol=1e-12)
    np.testing.assert_allclose(expected_best(VALUES[:1]), VALUES[:1])


@pytest.mark.parametrize("mutant", [with_replacement, off_by_one])
def test_the_oracle_tells_wrong_forms_apart(mutant):
    assert np.abs(mutant(VALUES) - by_enumeration(VALUES)).max() > 0.01
    assert np.abs(mutant(VALUES) - expected_best(VALUES)).max() > 0.01


def test_it_begins_at_the_mean_ends_at_the_best_and_never_falls():
    best = expected_best(VALUES)
    assert best[0] == pytest.approx(VALUES.mean())
    assert best[-1] == VALUES.max()
    assert (np.diff(best) >= 0).all()
    np.testing.assert_allclose(expected_best(-VALUES, higher_is_better=False), -best)


def test_it_is_unbiased_where_the_plug_in_form_is_not():
    # The largest of 5 uniform numbers is 5 / 6 on average.
    rng = np.random.default_rng(0)
    draws = rng.random((4000, 10))
    found = np.array([expected_best(row)[4] for row in draws])
    error = found.std() / np.sqrt(len(found))
    assert found.mean() == pytest.approx(5 / 6, abs=3 * error)
    assert np.mean([with_replacement(row)[4] for row in draws]) < 5 / 6 - 10 * error


def test_many_trials_keep_weights_that_sum_to_one():
    np.testing.assert_allclose(expected_best(np.ones(800)), 1, rtol=1e-9)


def test_band_holds_the_estimate_and_is_seeded():
    low, high = expected_best_band(VALUES, resamples=200)
    best = expected_best(VALUES)
    assert ((low <= best) & (best <= high)).all()
    np.testing.assert_array_equal(low, expected_best_band(VALUES, resamples=200)[0])


def test_missing_figures_are_refused():
    for values in (np.array([]), np.array([0.1, np.nan])):
        with pytest.raises(StudyError, match="worst possible value"):
            expected_best(values)
