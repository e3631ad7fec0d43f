"""The state of ALS after any number of half-steps, in closed form.

A half-step multiplies the span of the factor it keeps by X or X^T. Write that span, in the basis of X's singular
vectors, as the columns of [I; T], with T of (p - r) x r: the tangents of its angles to the best subspace. The product
makes T_ij into T_ij s_{r+i} / s_j, exactly and from the first half-step on. Its slowest entry gives the
asymptotic rates: s_{r+1} / s_r a half-step for the angles, the square of that for the objective's gap.

With the singular values t_k = tan(theta_k) and vectors p_k, z_k of T, S_r = diag(s_1..s_r) and S_o the rest:

    gap           = 1/2 sum_k sin^2(theta_k) (|S_r z_k|^2 - |S_o p_k|^2)
    ||AB - X_r||^2 =    sum_k sin^2(theta_k) (|S_r z_k|^2 + |S_o p_k|^2)

This is subspace iteration (Golub and Van Loan, Matrix Computations, section 8.2); the law lets a check know beforehand
how far a run must come, instead of being given a loose tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.factorization.matrix import Matrix
from analysis.factorization.svd import Svd


@dataclass(frozen=True)
class Expected:
    """What the law says of one half-step."""

    angle: float
    """Largest principal angle between the updated factor's span and the best subspace, radians."""
    gap: float
    """Objective above the optimum."""
    product_error: float
    """Frobenius norm of A B - U_r S_r V_r^T."""


@dataclass(frozen=True)
class ContractionLaw:
    """The law for one start, fixed by the factor B of its first half-step."""

    svd: Svd
    tangents: Matrix
    """T of the first half-step's B, (p - r) x r."""

    @classmethod
    def from_first(cls, svd: Svd, B: Matrix) -> ContractionLaw:
        """Return the law of the run whose first half-step ended with ``B``, r x n."""
        coordinates = svd.Vt @ B.T
        best, rest = coordinates[: svd.rank], coordinates[svd.rank :]
        transposed: Matrix = np.linalg.lstsq(best.T, rest.T, rcond=None)[0].astype(np.float64, copy=False)
        return cls(svd, transposed.T)

    def at(self, half_step: int) -> Expected:
        """Return what is expected after the half-step of that number, from 2 (the first is the start's own)."""
        assert half_step >= 2
        fixed, updated = self._tangents(half_step - 2), self._tangents(half_step - 1)
        rest, tangents, best = np.linalg.svd(fixed, full_matrices=False)
        sine_squared = tangents**2 / (1 + tangents**2)
        kept = np.sum((best * self.svd.s[: self.svd.rank]) ** 2, axis=1)
        lost = np.sum((rest * self.svd.s[self.svd.rank :, None]) ** 2, axis=0)
        return Expected(
            angle=float(np.arctan(np.linalg.norm(updated, 2))) if updated.size else 0.0,
            gap=0.5 * float(sine_squared @ (kept - lost)),
            product_error=float(np.sqrt(sine_squared @ (kept + lost))),
        )

    def half_steps_to(self, angle: float, gap: float, limit: int) -> int:
        """Return the first half-step expected at or below both sizes, or ``limit``; bisection, as both fall."""
        low, high = 2, limit
        while low < high:
            middle = (low + high) // 2
            expected = self.at(middle)
            if expected.angle <= angle and expected.gap <= gap:
                high = middle
            else:
                low = middle + 1
        return high

    def _tangents(self, times: int) -> Matrix:
        s, rank = self.svd.s, self.svd.rank
        tangents: Matrix = self.tangents * (s[rank:, None] / s[None, :rank]) ** times
        return tangents
