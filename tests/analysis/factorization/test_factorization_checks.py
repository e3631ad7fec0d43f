"""The checks pass for ALS on every kind of matrix, say where they do not apply, and fail for broken solvers."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import scipy.linalg
from sklearn.datasets import load_sample_image

from analysis.factorization import als_half_steps, check_factorization, contraction_by_rank, table, truncated_svd
from analysis.factorization.law import ContractionLaw
from search_spaces.errors import StudyError

DESCENT, LEAST_SQUARES, OPTIMUM = (
    "every half-step lowers the objective",
    "every half-step is a least-squares solution",
    "all starts end at the same optimum",
)
PRODUCT, PAIR, FACTORS = "the product AB is unique", "the balanced pair is optimal", "the factors are not unique"
SPACES = "the factors span the leading singular subspaces"
SUBSPACE_RATE, GAP_RATE = (
    "the subspace error contracts by (s_{r+1}/s_r)^2",
    "the objective's gap contracts by the square of that",
)


def planted(m, n, singular_values, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    r = len(singular_values)
    left = np.linalg.qr(rng.standard_normal((m, r)))[0]
    right = np.linalg.qr(rng.standard_normal((n, r)))[0]
    return (left * np.asarray(singular_values)) @ right.T + noise * rng.standard_normal((m, n)) / np.sqrt(max(m, n))


NOISY = planted(50, 30, [2, 1.8, 1.5, 1.2], noise=0.2)
ILL = planted(60, 40, np.geomspace(1, 1e-7, 8), noise=1e-8)


def verdicts(report):
    return {check.name: check.passed for check in report.checks}


@pytest.mark.parametrize(
    ("X", "rank"),
    [
        (NOISY, 4),
        (NOISY.T, 4),
        (NOISY, 1),
        (planted(5, 200, [3, 2, 1], noise=0.3), 3),
        (planted(200, 5, [3, 2, 1], noise=0.3), 3),
    ],
    ids=["tall", "wide", "rank one", "very wide", "very tall"],
)
def test_every_claim_holds_on_a_matrix_with_a_gap(X, rank):
    report = check_factorization(X, rank, starts=3)
    assert set(verdicts(report).values()) == {True}
    assert report.passed


def test_every_claim_holds_on_a_photograph():
    pixels = load_sample_image("flower.jpg").astype(float).mean(axis=2) / 255
    report = check_factorization(pixels[::10, ::10], 6, starts=4)
    assert set(verdicts(report).values()) == {True}


def test_at_condition_1e7_the_checks_still_pass():
    found = verdicts(check_factorization(ILL, 8, starts=3))
    assert set(found.values()) <= {True, None}
    assert found[LEAST_SQUARES]
    assert found[OPTIMUM]
    assert found[PRODUCT]
    assert found[SPACES]


def test_a_tie_leaves_product_and_subspace_open_and_nothing_passes_by_luck():
    for X, rank in ((np.eye(6), 3), (np.diag([3.0, 2.0, 2.0, 2.0, 1.0]), 2)):
        found = verdicts(check_factorization(X, rank, starts=4))
        assert [found[name] for name in (PRODUCT, SPACES, SUBSPACE_RATE, GAP_RATE)] == [None] * 4
        assert [found[name] for name in (DESCENT, LEAST_SQUARES, OPTIMUM, PAIR, FACTORS)] == [True] * 5


def test_the_products_of_a_tie_do_differ_between_starts():
    product = next(c for c in check_factorization(np.eye(6), 3).checks if c.name == PRODUCT)
    assert product.numbers["apart"] > 0.1
    assert "several products are best" in product.words


@pytest.mark.parametrize(
    ("X", "rank"),
    [
        (planted(20, 30, [2, 1]), 4),
        (planted(20, 30, [2, 1]), 2),
        (np.zeros((5, 4)), 2),
        (planted(6, 9, [6, 5, 4, 3, 2, 1]), 6),
        (np.array([[3.0]]), 1),
        (np.ones((1, 7)), 1),
    ],
    ids=["above the rank", "the rank itself", "zero", "full rank", "one cell", "one row"],
)
def test_where_the_optimum_is_zero_every_start_reaches_it_at_once(X, rank):
    report = check_factorization(X, rank, starts=3)
    found = verdicts(report)
    assert report.passed
    assert found[OPTIMUM]
    assert found[PRODUCT]
    assert found[SUBSPACE_RATE] is None
    assert all(len(trace.objectives) == 6 for trace in report.traces)


def test_a_rank_above_the_matrixs_own_is_said():
    assert "rank below 4" in check_factorization(planted(20, 30, [2, 1]), 4).notes[0]
    assert "is zero" in check_factorization(np.zeros((5, 4)), 2).notes[0]


def test_a_near_tie_meets_the_sweep_limit_which_is_said_and_judged_by_the_law():
    X = planted(40, 30, [2, 1 + 1e-4, 1, 0.5])
    report = check_factorization(X, 2, starts=3, max_sweeps=50)
    by_name = {check.name: check for check in report.checks}
    optimum, product = by_name[OPTIMUM], by_name[PRODUCT]
    assert optimum.passed
    assert optimum.numbers["gap"] == pytest.approx(optimum.numbers["expected"], rel=1e-6)
    assert "cut off after 50 sweeps" in optimum.words
    assert product.passed is None
    assert by_name[SPACES].passed is None
    assert report.traces[0].half_steps_wanted > 1e5


def test_the_sweeps_wanted_are_those_it_takes():
    X = planted(40, 30, [2, 1.1, 1, 0.5])
    cut, whole = (check_factorization(X, 2, starts=1, max_sweeps=sweeps).traces[0] for sweeps in (20, 500))
    assert not cut.reached_goal
    assert whole.reached_goal
    assert cut.half_steps_wanted == pytest.approx(len(whole.objectives), rel=0.03)


def test_the_law_gives_every_half_steps_gap_angle_and_product():
    svd = truncated_svd(NOISY, 3)
    steps = list(islice(als_half_steps(NOISY, 3, 0), 12))
    law = ContractionLaw.from_first(svd, steps[0].B)
    for number, (A, B) in enumerate(steps[1:], start=2):
        updated, best = (A, svd.left) if number % 2 == 0 else (B.T, svd.right)
        expected = law.at(number)
        assert 0.5 * np.sum((NOISY - A @ B) ** 2) - svd.optimum == pytest.approx(expected.gap, rel=1e-6)
        assert scipy.linalg.subspace_angles(updated, best)[0] == pytest.approx(expected.angle, rel=1e-8)
        assert np.linalg.norm(A @ B - svd.product()) == pytest.approx(expected.product_error, rel=1e-8)


def test_measured_rates_tend_to_the_ratio_of_singular_values():
    X = np.diag([3.0, 2.0, 1.8, 0.2, 0.1])
    report = check_factorization(X, 2, starts=3)
    by_name = {check.name: check.numbers for check in report.checks}
    assert by_name[SUBSPACE_RATE]["measured"] == pytest.approx((1.8 / 2) ** 2, rel=1e-6)
    assert by_name[GAP_RATE]["measured"] == pytest.approx((1.8 / 2) ** 4, rel=1e-4)


def test_rates_by_rank_leave_out_the_ranks_without_one():
    rates = contraction_by_rank(np.diag([3.0, 2.0, 2.0, 1.0]), [1, 2, 3, 4])
    assert list(rates["rank"].unique()) == [1, 3]
    subspace = rates[rates["quantity"] == "subspace error"]
    np.testing.assert_allclose(subspace["predicted"], [4 / 9, 1 / 4])
    np.testing.assert_allclose(rates["measured"], rates["law"], rtol=1e-2)


def by_inverse(X, rank, seed):
    A = np.random.default_rng(seed).standard_normal((X.shape[0], rank))
    while True:
        B = np.linalg.inv(A.T @ A) @ A.T @ X
        yield A, B
        A = X @ B.T @ np.linalg.inv(B @ B.T)
        yield A, B


def by_lstsq(X, rank, seed):
    A = np.random.default_rng(seed).standard_normal((X.shape[0], rank))
    while True:
        B = np.linalg.lstsq(A, X, rcond=None)[0]
        yield A, B
        A = np.linalg.lstsq(B.T, X.T, rcond=None)[0].T
        yield A, B


def wrong_transpose(X, rank, seed):
    A = np.random.default_rng(seed).standard_normal((X.shape[0], rank))
    while True:
        B = np.linalg.solve(A.T @ A, A.T @ X)
        yield A, B
        A = np.linalg.solve(A.T @ A, B @ X.T).T
        yield A, B


def stopped_half_step(X, rank, seed):
    A = np.random.default_rng(seed).standard_normal((X.shape[0], rank))
    B = np.linalg.lstsq(A, X, rcond=None)[0]
    while True:
        yield A, B
        A = np.linalg.lstsq(B.T, X.T, rcond=None)[0].T
        yield A, B


def half_a_half_step(X, rank, seed):
    steps = by_lstsq(X, rank, seed)
    A, B = next(steps)
    while True:
        yield A, B
        A = 0.5 * A + 0.5 * np.linalg.lstsq(B.T, X.T, rcond=None)[0].T
        yield A, B
        B = 0.5 * B + 0.5 * np.linalg.lstsq(A, X, rcond=None)[0]


def rank_too_low(X, rank, seed):
    yield from als_half_steps(X, rank - 1, seed)


def padded_rank_too_low(X, rank, seed):
    for A, B in als_half_steps(X, rank - 1, seed):
        yield np.c_[A, 0 * A[:, :1]], np.r_[B, 0 * B[:1]]


def stuck_in_the_wrong_subspace(X, rank, seed):
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    keep = [*range(rank - 1), rank]
    while True:
        yield U[:, keep] * s[keep], Vt[keep]


def not_a_number(X, rank, seed):
    for number, (A, B) in enumerate(als_half_steps(X, rank, seed)):
        yield (A * np.nan, B) if number == 3 else (A, B)


def never_a_number(X, rank, seed):
    for A, B in als_half_steps(X, rank, seed):
        yield A, B * np.nan


def ends_too_soon(X, rank, seed):
    yield from islice(als_half_steps(X, rank, seed), 3)


def singular_solve(X, rank, seed):
    yield next(als_half_steps(X, rank, seed))
    raise np.linalg.LinAlgError("Singular matrix")


BROKEN = {
    wrong_transpose: (OPTIMUM, PRODUCT),
    stopped_half_step: (LEAST_SQUARES, OPTIMUM, PRODUCT, SPACES),
    half_a_half_step: (LEAST_SQUARES, SUBSPACE_RATE, GAP_RATE),
    rank_too_low: (OPTIMUM, PRODUCT, SPACES, SUBSPACE_RATE),
    padded_rank_too_low: (OPTIMUM, PRODUCT, SPACES),
    stuck_in_the_wrong_subspace: (OPTIMUM, PRODUCT, SPACES),
    not_a_number: (DESCENT, LEAST_SQUARES, OPTIMUM, PRODUCT, SPACES),
    never_a_number: (DESCENT, LEAST_SQUARES, OPTIMUM, PRODUCT, SPACES),
    ends_too_soon: (OPTIMUM, PRODUCT, SPACES),
    singular_solve: (DESCENT, OPTIMUM, PRODUCT, SPACES),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda solver: solver.__name__)
def test_a_broken_solver_fails_the_checks(broken):
    report = check_factorization(NOISY, 4, starts=2, als=broken)
    assert not report.passed
    found = verdicts(report)
    assert [name for name in BROKEN[broken] if found[name] is not False] == []


def test_a_breakdown_is_noted_and_tabled():
    report = check_factorization(NOISY, 4, starts=2, als=not_a_number)
    assert "seed 0 broke down after 3 half-steps" in report.notes[0]
    found = table(report).set_index("check")
    assert found.loc[OPTIMUM, "verdict"] == "failed"
    assert set(found.columns) == {"verdict", "measured", "tolerance", "words"}


def test_the_inverse_of_the_normal_equations_passes_when_well_conditioned_and_fails_at_1e7():
    assert check_factorization(NOISY, 4, starts=2, als=by_inverse).passed
    found = verdicts(check_factorization(ILL, 8, starts=2, als=by_inverse))
    assert found[LEAST_SQUARES] is False
    assert found[OPTIMUM] is False
    assert found[PRODUCT] is False


def test_a_least_squares_solver_in_another_gauge_passes_at_1e7_too():
    assert check_factorization(NOISY, 4, starts=2, als=by_lstsq).passed
    assert check_factorization(ILL, 8, starts=2, als=by_lstsq).passed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"starts": 0}, "starts is 0"),
        ({"max_sweeps": 2}, "max_sweeps is 2"),
        ({"seed": -1}, "seed is -1"),
        ({"rank": 31}, "rank is 31, but must be 1 to 30"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(StudyError, match=words):
        check_factorization(NOISY, **({"rank": 2} | options))


def test_missing_cells_are_refused_with_the_remedy():
    with pytest.raises(StudyError, match="`complete`"):
        check_factorization(np.where(np.eye(5, dtype=bool), np.nan, 1.0), 1)
