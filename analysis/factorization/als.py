"""Alternating least squares for the unconstrained factorization: min 1/2 ||X - A B||_F^2.

X is m x n, A is m x r, B is r x n. The problem is convex in A and in B, not in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import scipy.linalg

from analysis.factorization.matrix import Matrix, require_complete, require_rank

EPS = float(np.finfo(np.float64).eps)
_STREAM = 7
"""Sets a start apart from a matrix that was itself drawn with the same seed."""


class Factors(NamedTuple):
    """A pair of factors: A is m x r, B is r x n."""

    A: Matrix
    B: Matrix


HalfSteps = Callable[[Matrix, int, int], Iterator[Factors]]
"""``als(X, rank, seed)``: yields the factors after each half-step, B's first, then A's, and so on."""


def als_half_steps(X: Matrix, rank: int, seed: int) -> Iterator[Factors]:
    """Yield the factors after every half-step of ALS from a random start, without end.

    A half-step is a least-squares problem in one factor, solved by the QR decomposition of the other: with
    A = Q R, the best B is R^-1 Q^T X. As (A, B) and (A R^-1, R B) are the same product, the pair kept is
    (Q, Q^T X): nothing is inverted, a factor's condition number plays no part, and a factor of deficient rank
    needs no special case. A sweep costs two matrix products of m n r multiplications and two thin QRs.
    """
    A = np.random.default_rng([_STREAM, seed]).standard_normal((X.shape[0], rank))
    while True:
        A = orthonormal(A)
        B = A.T @ X
        yield Factors(A, B)
        B = orthonormal(B.T).T
        A = X @ B.T
        yield Factors(A, B)


@dataclass(frozen=True)
class AlsRun:
    """The end of one ALS run."""

    A: Matrix
    B: Matrix
    objectives: Matrix
    """1/2 ||X - A B||_F^2 after every half-step; the last one from the residual itself."""
    converged: bool

    @property
    def sweeps(self) -> float:
        """Return the number of sweeps, two half-steps each."""
        return len(self.objectives) / 2


def als(X: Matrix, rank: int, *, seed: int = 0, tolerance: float = 1e-10, max_sweeps: int = 500) -> AlsRun:
    """Return the factors that ALS reaches from one random start.

    It stops once the gap that is left, estimated from the last two decreases as a geometric series (Aitken),
    is below a tenth of ``tolerance`` times the objective, or lost in rounding (``converged``), or after
    ``max_sweeps``. The tenth is there because the decreases' ratio still grows towards its limit
    (sigma_{r+1} / sigma_r)^2, so that the estimate is somewhat low. Raises StudyError for a matrix with missing
    cells (see `complete`) or a rank that does not fit.
    """
    X = require_complete(X)
    require_rank(X, rank)
    energy = float(np.linalg.norm(X)) ** 2
    objectives: list[float] = []
    converged = False
    steps = als_half_steps(X, rank, seed)
    for step, (A, B) in enumerate(islice(steps, 2 * max_sweeps)):
        updated = A if step % 2 else B  # the other one is orthonormal: this one has the product's norm
        objectives.append((energy - float(np.vdot(updated, updated))) / 2)
        if converged := _has_converged(objectives, energy, tolerance):
            break
    objectives[-1] = objective(X, A, B)
    return AlsRun(A, B, np.array(objectives), converged)


def _has_converged(objectives: list[float], energy: float, tolerance: float) -> bool:
    if len(objectives) < 3:
        return False
    before, last = -np.diff(objectives[-3:])
    if last <= 4 * EPS * energy:
        return True
    ratio = last / before
    return bool(ratio < 1 and last * ratio / (1 - ratio) <= tolerance / 10 * max(objectives[-1], EPS * energy))


def orthonormal(factor: Matrix) -> Matrix:
    """Return an orthonormal basis, rows x columns, whose span holds the columns of ``factor`` (Householder QR)."""
    basis: Matrix = scipy.linalg.qr(factor, mode="economic", check_finite=False)[0]
    return basis


def objective(X: Matrix, A: Matrix, B: Matrix) -> float:
    """Return 1/2 ||X - A B||_F^2, from the residual."""
    residual = A @ B
    residual -= X
    return 0.5 * float(np.linalg.norm(residual)) ** 2


def rounding_of_objective(X: Matrix, optimum: float) -> float:
    """Return the error that rounding leaves in an objective near ``optimum``.

    A residual E computed with an error of size d = c eps ||X||_F has an objective off by ||E|| d + d^2 / 2.
    """
    d = 4 * np.sqrt(max(X.shape)) * EPS * float(np.linalg.norm(X))
    return float(np.sqrt(2 * optimum) * d + d * d / 2)
