"""The truncated singular value decomposition: what every factorization of that rank is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.factorization.als import EPS, Factors
from analysis.factorization.matrix import Matrix, require_complete, require_rank


@dataclass(frozen=True)
class Svd:
    """A thin decomposition X = U diag(s) Vt of an m x n matrix, s falling, cut at ``rank``.

    U is m x p, s has p values, Vt is p x n, with p = min(m, n).
    """

    U: Matrix
    s: Matrix
    Vt: Matrix
    rank: int

    @property
    def optimum(self) -> float:
        """Return 1/2 sum_{i > rank} s_i^2, the least objective of that rank (Eckart and Young 1936)."""
        return 0.5 * float(np.sum(self.s[self.rank :] ** 2))

    @property
    def left(self) -> Matrix:
        """Return U_r, m x rank."""
        return self.U[:, : self.rank]

    @property
    def right(self) -> Matrix:
        """Return V_r, n x rank."""
        return self.Vt[: self.rank].T

    @property
    def kept(self) -> float:
        """Return the last singular value kept, s_r."""
        return float(self.s[self.rank - 1])

    @property
    def dropped(self) -> float:
        """Return the first one dropped, s_{r+1}; 0 where the rank is full."""
        return float(self.s[self.rank]) if self.rank < len(self.s) else 0.0

    @property
    def contraction(self) -> float:
        """Return (s_{r+1} / s_r)^2, by which a sweep of ALS shrinks the subspace error in the end."""
        return (self.dropped / self.kept) ** 2 if self.kept else 1.0

    @property
    def noise(self) -> float:
        """Return the size below which a singular value, or a difference of two, is rounding."""
        return float(max(self.U.shape[0], self.Vt.shape[1]) * EPS * self.s[0])

    @property
    def is_deficient(self) -> bool:
        """Return whether X has a rank below ``rank`` to working precision: s_r is 0."""
        return self.kept <= self.noise

    @property
    def is_tied(self) -> bool:
        """Return whether s_r = s_{r+1} to working precision, so that the best product is not unique."""
        return not self.is_deficient and self.kept - self.dropped <= self.noise

    def product(self) -> Matrix:
        """Return U_r diag(s_1..s_r) V_r^T, the best approximation of that rank."""
        return (self.left * self.s[: self.rank]) @ self.right.T

    def balanced_factors(self) -> Factors:
        """Return A = U_r S_r^1/2 and B = S_r^1/2 V_r^T, the optimal pair with A^T A = B B^T."""
        root = np.sqrt(self.s[: self.rank])
        return Factors(self.left * root, root[:, None] * self.right.T)


def truncated_svd(X: Matrix, rank: int) -> Svd:
    """Return the decomposition of ``X`` cut at ``rank`` (LAPACK's gesdd).

    Raises StudyError for a matrix with missing cells or a rank that does not fit.
    """
    X = require_complete(X)
    require_rank(X, rank)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    return Svd(U, s, Vt, rank)
