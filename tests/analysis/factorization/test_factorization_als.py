"""ALS and the truncated SVD against LAPACK, ARPACK and scikit-learn."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from scipy.sparse.linalg import svds
from sklearn.datasets import load_sample_image
from sklearn.utils.extmath import randomized_svd

from analysis.factorization import als, als_half_steps, objective, truncated_svd
from search_spaces.errors import StudyError


def planted(m, n, singular_values, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    r = len(singular_values)
    left = np.linalg.qr(rng.standard_normal((m, r)))[0]
    right = np.linalg.qr(rng.standard_normal((n, r)))[0]
    return (left * singular_values) @ right.T + noise * rng.standard_normal((m, n)) / np.sqrt(max(m, n))


@pytest.fixture(scope="module")
def photograph():
    pixels = load_sample_image("china.jpg").astype(float) @ np.array([0.299, 0.587, 0.114]) / 255
    return pixels[::8, ::8]


@pytest.mark.parametrize("shape", [(40, 25), (25, 40), (30, 30), (1, 6), (6, 1)])
def test_als_ends_at_lapacks_best_approximation(shape):
    rank = min(3, min(shape))
    rows, columns = shape
    X = planted(rows, columns, np.array([3.0, 2.0, 1.5])[:rank], noise=0.05)
    run = als(X, rank, seed=2, tolerance=1e-13)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    assert run.converged
    assert run.A.shape == (shape[0], rank)
    assert run.B.shape == (rank, shape[1])
    np.testing.assert_allclose(run.A @ run.B, (U[:, :rank] * s[:rank]) @ Vt[:rank], atol=1e-6)
    assert run.objectives[-1] == pytest.approx(0.5 * np.sum(s[rank:] ** 2), rel=1e-10, abs=1e-25)


def test_als_agrees_with_arpack_and_randomized_svd_on_a_photograph(photograph):
    run = als(photograph, 10, seed=1, tolerance=1e-12)
    for U, s, Vt in (svds(photograph, k=10, random_state=0), randomized_svd(photograph, 10, n_iter=60, random_state=0)):
        assert run.objectives[-1] == pytest.approx(objective(photograph, U * s, Vt), rel=1e-11)
        np.testing.assert_allclose(run.A @ run.B, (U * s) @ Vt, atol=1e-3)


def test_the_first_half_steps_are_the_textbooks_normal_equations():
    X = planted(20, 15, np.array([2.0, 1.0, 0.5]), noise=0.1)
    first, second = islice(als_half_steps(X, 2, 5), 2)
    B = np.linalg.inv(first.A.T @ first.A) @ first.A.T @ X
    np.testing.assert_allclose(first.A @ first.B, first.A @ B, atol=1e-12)
    A = X @ B.T @ np.linalg.inv(B @ B.T)
    np.testing.assert_allclose(second.A @ second.B, A @ B, atol=1e-12)


def test_normal_equations_lose_the_digits_that_qr_keeps_at_condition_1e7():
    factor = planted(60, 8, np.geomspace(1, 1e-7, 8), seed=3)
    X = factor @ np.random.default_rng(4).standard_normal((8, 30))
    by_inverse = np.linalg.inv(factor.T @ factor) @ factor.T @ X
    Q = np.linalg.qr(factor)[0]
    lost = np.linalg.norm(factor @ by_inverse - X) / np.linalg.norm(X)
    kept = np.linalg.norm(Q @ (Q.T @ X) - X) / np.linalg.norm(X)
    assert kept < 1e-14
    assert lost > 1e-10  # more than four digits of the product; of the solution itself all sixteen:
    solution = np.linalg.lstsq(factor, X, rcond=None)[0]
    assert np.linalg.norm(by_inverse - solution) / np.linalg.norm(solution) > 1e-4


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_a_rank_above_the_matrixs_own_and_a_zero_matrix_are_fitted_exactly(rank):
    for X in (planted(12, 9, np.array([2.0])), np.zeros((12, 9))):
        run = als(X, rank)
        np.testing.assert_allclose(run.A @ run.B, X, atol=1e-14)
        assert run.converged


def test_the_stopping_rule_keeps_its_promise_on_a_slow_spectrum(photograph):
    for tolerance in (1e-4, 1e-8):
        run = als(photograph, 20, seed=3, tolerance=tolerance)
        optimum = truncated_svd(photograph, 20).optimum
        assert run.converged
        assert 0 <= run.objectives[-1] / optimum - 1 <= tolerance


def test_a_run_that_the_limit_cuts_off_says_so(photograph):
    run = als(photograph, 20, max_sweeps=3)
    assert not run.converged
    assert run.sweeps == 3


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    X = planted(20, 15, np.array([2.0, 1.0]), noise=0.1)
    first, again, other = (als(X, 2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.A, again.A)
    assert abs(first.objectives[0] / other.objectives[0] - 1) > 1e-3


def test_truncated_svd_has_the_balanced_pair_and_the_eckart_young_optimum():
    X = np.diag([5.0, 3.0, 2.0, 1.0])
    svd = truncated_svd(X, 2)
    A, B = svd.balanced_factors()
    assert svd.optimum == pytest.approx(0.5 * (2**2 + 1**2))
    assert svd.contraction == pytest.approx((2 / 3) ** 2)
    np.testing.assert_allclose(A @ B, np.diag([5.0, 3.0, 0.0, 0.0]), atol=1e-15)
    np.testing.assert_allclose(A.T @ A, B @ B.T, atol=1e-14)
    np.testing.assert_allclose(np.diag(A.T @ A), [5.0, 3.0])


def test_ties_and_deficiency_are_told_to_working_precision():
    assert truncated_svd(np.eye(5), 2).is_tied
    assert not truncated_svd(np.eye(5), 5).is_tied
    deficient = truncated_svd(planted(30, 20, np.array([2.0, 1.0])), 3)
    assert deficient.is_deficient
    assert not deficient.is_tied


@pytest.mark.parametrize(
    ("X", "rank", "words"),
    [
        (np.ones((3, 4)), 0, "rank is 0, but must be 1 to 3"),
        (np.ones((3, 4)), 4, "rank is 4, but must be 1 to 3"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), 1, "1 missing cell"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), 1, "infinite at row 0, column 1"),
        (np.ones(4), 1, "1 dimension"),
        (np.ones((0, 4)), 1, "0 x 4"),
        (np.array([["a", "b"]]), 1, "must hold real numbers"),
        (np.full((2, 2), 1e80), 1, "scale it first"),
    ],
)
def test_what_is_no_matrix_of_that_rank_is_refused(X, rank, words):
    for function in (als, truncated_svd):
        with pytest.raises(StudyError, match=words):
            function(X, rank)
