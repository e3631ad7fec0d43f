"""Masked ridge ALS against closed forms, and the estimate of missing cells against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.factorization import complete, masked_als
from analysis.factorization.heldout import hold_out
from analysis.factorization.masked import additive_effects
from search_spaces.errors import StudyError

pytestmark = pytest.mark.slow


def low_rank(m, n, rank, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))


def with_gaps(X, share, seed=1):
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


def learning_curves(trials, epochs, noise=0.0, seed=0):
    """Curves that differ in level and in speed: end - (end - 0.1) exp(-t / tau)."""
    rng = np.random.default_rng(seed)
    end, tau = 0.7 + 0.2 * rng.random(trials), 2 + 4 * rng.random(trials)
    curves = end[:, None] - (end[:, None] - 0.1) * np.exp(-np.arange(1, epochs + 1) / tau[:, None])
    return curves + noise * rng.standard_normal(curves.shape)


@pytest.mark.parametrize("shape", [(12, 9), (9, 12)])
def test_without_gaps_ridge_lowers_every_singular_value_by_the_ridge(shape):
    X = np.random.default_rng(2).standard_normal(shape)
    run = masked_als(X, 9, 1.5, tolerance=1e-14, max_sweeps=3000)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    np.testing.assert_allclose(run.prediction(), (U * np.maximum(s - 1.5, 0)) @ Vt, atol=1e-6)


def test_a_rows_half_step_is_ridge_regression_on_its_observed_cells():
    X = with_gaps(low_rank(8, 7, 3), 0.3)
    run = masked_als(X, 3, 0.1, tolerance=1e-15, max_sweeps=20_000)
    for row, a in zip(X, run.A, strict=True):
        seen = ~np.isnan(row)
        B = run.B[:, seen]
        by_hand = np.linalg.solve(B @ B.T + 0.1 * np.eye(3), B @ row[seen])
        np.testing.assert_allclose(a, by_hand, atol=1e-5)


def test_every_half_step_lowers_the_regularised_objective():
    for effects in (False, True):
        run = masked_als(with_gaps(low_rank(20, 15, 3), 0.4), 3, 0.2, effects=effects)
        assert run.converged
        assert np.all(np.diff(run.objectives) <= 1e-12 * run.objectives[0])


def test_a_planted_matrix_is_recovered_from_half_of_its_cells():
    X = low_rank(40, 30, 2)
    run = masked_als(with_gaps(X, 0.4), 2, 1e-5, tolerance=1e-10)
    np.testing.assert_allclose(run.A @ run.B, X, atol=1e-3)


def test_batches_do_not_change_the_answer(monkeypatch):
    X = with_gaps(low_rank(20, 15, 3), 0.4)
    whole = masked_als(X, 2, 0.1, effects=True).prediction()
    monkeypatch.setattr("analysis.factorization.masked._CELLS_AT_ONCE", 200)
    np.testing.assert_allclose(masked_als(X, 2, 0.1, effects=True).prediction(), whole, atol=1e-10)


def test_a_row_and_a_column_wholly_missing_get_zeros():
    X = low_rank(10, 8, 2)
    X[3], X[:, 5] = np.nan, np.nan
    run = masked_als(X, 2, 0.1, effects=True)
    assert not run.A[3].any()
    assert not run.B[:, 5].any()
    assert run.row_effects[3] == run.column_effects[5] == 0


def test_additive_effects_are_the_two_way_least_squares_fit():
    X = with_gaps(low_rank(6, 5, 2), 0.3)
    p, q = additive_effects(X)
    rows, columns = np.nonzero(~np.isnan(X))
    design = np.zeros((len(rows), 11))
    design[np.arange(len(rows)), rows] = design[np.arange(len(rows)), 6 + columns] = 1
    by_hand = np.linalg.lstsq(design, X[rows, columns], rcond=None)[0]
    np.testing.assert_allclose(np.concatenate([p, q]), by_hand, atol=1e-8)


def test_the_rank_is_found_by_held_out_error():
    rng = np.random.default_rng(5)
    X = low_rank(60, 40, 2) + 0.05 * rng.standard_normal((60, 40))
    found = complete(with_gaps(X, 0.2))
    assert found.rank == 2
    assert found.reliable
    assert found.heldout_rmse < 0.2 < found.baseline_rmse


def test_observed_cells_stay_and_the_held_out_error_is_that_of_the_missing_ones():
    X = learning_curves(40, 20, noise=0.003)
    gappy = with_gaps(X, 0.3)
    found = complete(gappy)
    missing = np.isnan(gappy)
    np.testing.assert_array_equal(found.matrix[~missing], X[~missing])
    error = np.sqrt(np.mean((found.matrix - X)[missing] ** 2))
    assert found.heldout_rmse == pytest.approx(error, rel=0.5)
    assert found.reliable


def test_noise_is_not_believed():
    found = complete(with_gaps(np.random.default_rng(3).standard_normal((30, 20)), 0.2))
    assert not found.reliable
    assert "not reliable" in found.words


def test_an_additive_matrix_needs_no_product():
    rng = np.random.default_rng(1)
    X = rng.standard_normal(20)[:, None] + rng.standard_normal(15) + 0.01 * rng.standard_normal((20, 15))
    found = complete(with_gaps(X, 0.2))
    assert found.rank == 0
    assert found.heldout_rmse == found.baseline_rmse
    assert found.reliable


def test_a_stopped_trials_ending_is_estimated_from_those_that_went_on():
    X = learning_curves(30, 12, seed=4)
    stopped = X.copy()
    stopped[::2, 6:] = np.nan  # stopped without regard to how they do: then the others tell
    found = complete(stopped, seed=1)
    error = np.abs(found.matrix - X)[::2, -1]
    assert found.reliable
    assert error.max() < 0.05
    assert found.rank > 0


def test_the_seed_decides_the_estimate_of_the_error():
    X = with_gaps(learning_curves(20, 10, noise=0.01), 0.2)
    first, again, other = (complete(X, 1, seed=seed).heldout_rmse for seed in (1, 1, 2))
    assert first == again != other


def test_rows_and_columns_wholly_missing_are_filled_by_averages_and_said():
    X = learning_curves(10, 6)
    X[2], X[:, 4] = np.nan, np.nan
    found = complete(X, rank=0)
    assert np.isfinite(found.matrix).all()
    assert "1 row(s) wholly missing" in found.words
    assert "1 column(s) wholly missing" in found.words
    assert X[np.isfinite(X)].min() <= found.matrix[2].min() <= found.matrix[2].max() <= X[np.isfinite(X)].max()


def test_too_few_cells_are_completed_but_not_believed():
    found = complete(np.array([[np.nan, 2.0]]))
    assert found.matrix[0, 0] == 2.0
    assert np.isnan(found.heldout_rmse)
    assert not found.reliable


def test_a_constant_matrix_is_completed_at_any_rank():
    X = np.full((6, 5), 0.5)
    X[0, 0] = np.nan
    assert complete(X, rank=2).matrix[0, 0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("X", "options", "words"),
    [
        (np.full((3, 3), np.nan), {}, "no observed cell"),
        (np.ones((3, 3)), {"rank": 4}, "rank is 4"),
        (np.ones((3, 3)), {"rank": -1}, "rank is -1"),
        (np.ones((3, 3)), {"ridge": 0.0}, "ridge is 0"),
    ],
)
def test_what_cannot_be_completed_is_refused(X, options, words):
    with pytest.raises(StudyError, match=words):
        complete(X, **options)


def test_masked_als_needs_a_ridge():
    with pytest.raises(StudyError, match="ridge is 0"):
        masked_als(np.ones((3, 3)), 1, 0.0)


def test_held_out_cells_imitate_curves_that_were_stopped():
    observed = np.ones((20, 10), dtype=bool)
    observed[10:, 4:] = False
    hidden = hold_out(observed, 0)
    rows = np.flatnonzero(hidden.any(axis=1))
    assert len(rows) == 5
    np.testing.assert_array_equal(hidden[rows], np.tile(np.arange(10) >= 4, (5, 1)))


def test_held_out_cells_are_observed_and_leave_no_line_empty():
    rng = np.random.default_rng(0)
    for seed in range(20):
        observed = rng.random((8, 6)) < 0.5
        hidden = hold_out(observed, seed)
        assert not (hidden & ~observed).any()
        for axis in (0, 1):
            np.testing.assert_array_equal((observed & ~hidden).any(axis=axis), observed.any(axis=axis))


def test_where_nothing_is_missing_a_tenth_is_held_out_at_random():
    assert hold_out(np.ones((20, 10), dtype=bool), 0).sum() == 20
