"""Ridge-regularised alternating least squares for a matrix with missing cells.

Minimises 1/2 sum over observed (i, j) of (X_ij - a_i b_j)^2 + ridge / 2 (||A||_F^2 + ||B||_F^2). Without missing cells
its optimum is the SVD with every singular value lowered by ``ridge``, down to 0 (Hastie, Mazumder, Lee and Zadeh
2015, JMLR 16, theorem 1). Optionally X_ij has row and column effects p_i + q_j as well as the product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.linalg import lsqr

from analysis.factorization.matrix import Matrix, as_matrix, require_rank
from search_spaces.errors import StudyError

Mask = NDArray[np.bool_]
"""True where the cell is meant, m x n."""

_CELLS_AT_ONCE = 4_000_000
"""Largest stack of least-squares problems held in memory, float64 numbers."""
_EFFECT_RIDGE = 1e-8
"""Ridge of an effect over that of a factor: it only decides where nothing is observed, for 0."""


@dataclass(frozen=True)
class MaskedRun:
    """The end of a masked ALS run."""

    A: Matrix
    B: Matrix
    row_effects: Matrix
    column_effects: Matrix
    objectives: Matrix
    """The regularised objective at the start and after every half-step."""
    converged: bool

    def prediction(self) -> Matrix:
        """Return every cell, m x n: the product and the effects."""
        return self.A @ self.B + self.row_effects[:, None] + self.column_effects[None, :]


def masked_als(
    X: Matrix,
    rank: int,
    ridge: float,
    *,
    effects: bool = False,
    tolerance: float = 1e-9,
    max_sweeps: int = 500,
) -> MaskedRun:
    """Return factors of the observed cells of ``X`` (m x n; NaN is missing), with row and column effects if asked.

    ``ridge`` is positive and in units of X's singular values; effects bear practically none. The start is the SVD of
    what the effects leave, with 0 for missing cells, so there is no randomness. It stops when a sweep lowers the
    objective by less than ``tolerance`` of it. A row or column wholly missing gets a factor and an effect of 0. Raises
    StudyError for a ridge that is not positive (a row with fewer cells than the rank would have no single answer),
    or a rank that does not fit.
    """
    X = as_matrix(X)
    require_rank(X, rank)
    if not ridge > 0:
        raise StudyError(
            f"ridge is {ridge}, but must be above 0 where cells may be missing; take a small one, 1e-6 say"
        )
    observed = ~np.isnan(X)
    filled = np.where(observed, X, 0.0)
    state = _start(X, observed, rank, effects)
    objectives = [state.objective(filled, observed, ridge)]
    converged = False
    while not converged and len(objectives) < 2 * max_sweeps:
        for half_step in (_update_rows, _update_columns):
            state = half_step(state, filled, observed, ridge, effects)
            objectives.append(state.objective(filled, observed, ridge))
        converged = bool(objectives[-3] - objectives[-1] <= tolerance * objectives[-1])
    return MaskedRun(state.A, state.B, state.p, state.q, np.array(objectives), converged)


def additive_effects(X: Matrix) -> tuple[Matrix, Matrix]:
    """Return row and column effects whose sum fits the observed cells best: least squares, of smallest norm."""
    rows, columns = np.nonzero(~np.isnan(X))
    m, n = X.shape
    cells = np.tile(np.arange(len(rows)), 2)
    design = coo_array((np.ones(len(cells)), (cells, np.concatenate([rows, m + columns]))), shape=(len(rows), m + n))
    both = lsqr(design.tocsr(), X[rows, columns], atol=1e-12, btol=1e-12)[0]
    return both[:m], both[m:]


@dataclass(frozen=True)
class _State:
    A: Matrix
    B: Matrix
    p: Matrix
    q: Matrix

    def objective(self, filled: Matrix, observed: Mask, ridge: float) -> float:
        residual = (filled - self.A @ self.B - self.p[:, None] - self.q)[observed]
        factors = np.vdot(self.A, self.A) + np.vdot(self.B, self.B)
        effects = self.p @ self.p + self.q @ self.q
        return 0.5 * float(residual @ residual + ridge * (factors + _EFFECT_RIDGE * effects))


def _start(X: Matrix, observed: Mask, rank: int, effects: bool) -> _State:
    p, q = additive_effects(X) if effects else (np.zeros(X.shape[0]), np.zeros(X.shape[1]))
    U, s, Vt = np.linalg.svd(np.where(observed, X - p[:, None] - q, 0.0), full_matrices=False)
    root = np.sqrt(s[:rank])
    return _State(U[:, :rank] * root, root[:, None] * Vt[:rank], p, q)


def _update_rows(state: _State, filled: Matrix, observed: Mask, ridge: float, effects: bool) -> _State:
    A, p = _solve_rows(filled - state.q, observed, state.B, ridge, effects)
    return _State(A, state.B, p, state.q)


def _update_columns(state: _State, filled: Matrix, observed: Mask, ridge: float, effects: bool) -> _State:
    B, q = _solve_rows((filled - state.p[:, None]).T, observed.T, state.A.T, ridge, effects)
    return _State(state.A, B.T, state.p, q)


def _solve_rows(target: Matrix, observed: Mask, B: Matrix, ridge: float, effects: bool) -> tuple[Matrix, Matrix]:
    """Return, for each row, the a and the effect p that minimise |x - a B - p|^2 + ridge |a|^2 on its observed cells.

    Each is the least-squares problem of B^T's observed rows stacked on sqrt(ridge) I, solved by QR; rows in batches.
    """
    rank, n = B.shape
    basis = np.vstack([B, np.ones((1, n))]) if effects else B
    shrink = np.sqrt(ridge) * np.diag([1.0] * rank + [np.sqrt(_EFFECT_RIDGE)] * effects)
    batch = max(1, _CELLS_AT_ONCE // ((n + len(basis)) * len(basis)))
    solutions = []
    for start in range(0, len(target), batch):
        rows = observed[start : start + batch]
        penalty = np.broadcast_to(shrink, (len(rows), *shrink.shape))
        Q, R = np.linalg.qr(np.concatenate([rows[:, :, None] * basis.T, penalty], axis=1))
        projected = np.einsum("bnr,bn->br", Q[:, :n], np.where(rows, target[start : start + batch], 0.0))
        solutions.append(np.linalg.solve(R, projected[:, :, None])[:, :, 0])
    solved = np.concatenate(solutions)
    return solved[:, :rank], solved[:, rank] if effects else np.zeros(len(solved))
