"""One run of ALS, watched from outside: what its factors are worth after every half-step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import scipy.linalg

from analysis.factorization.als import EPS, Factors, HalfSteps, orthonormal, rounding_of_objective
from analysis.factorization.law import ContractionLaw, Expected
from analysis.factorization.matrix import Matrix
from analysis.factorization.svd import Svd

ANGLE_GOAL = 1e-9
"""A run goes on until the law expects angles (radians) and a relative gap as small as this, or to its limit."""


@dataclass(frozen=True)
class Trace:
    """A run from one random start; index h - 1 belongs to half-step h."""

    seed: int
    A: Matrix
    B: Matrix
    objectives: Matrix
    """1/2 ||X - A B||_F^2."""
    angles: Matrix
    """Largest principal angle between the updated factor's span and the best subspace, radians."""
    misfits: Matrix
    """||Q^T (X - A B)||_F / ||X||_F, Q a basis of the factor kept: 0 for a least-squares solution."""
    law: ContractionLaw | None
    """None where s_r = 0: then the second half-step is expected at the optimum."""
    expected: Expected
    """What the law says of the last half-step."""
    expected_before: Expected
    """The same of the one before, which updated the other factor."""
    half_steps_wanted: float
    """Half-steps after which the law expects the goal; more than were made where the limit cut the run off."""

    @property
    def broke_down(self) -> bool:
        """Return whether the run ended because its factors were no numbers any more."""
        return not np.isfinite(self.objectives[-1])

    @property
    def reached_goal(self) -> bool:
        """Return whether the sweep limit let the run come as far as the goal."""
        return self.half_steps_wanted <= len(self.objectives)


def watch(X: Matrix, svd: Svd, als: HalfSteps, seed: int, max_sweeps: int) -> Trace:
    """Return the trace of one run of ``als``, as long as the contraction law says is needed."""
    steps = _until_breakdown(als(X, svd.rank, seed))
    A, B = next(steps)
    law = None if svd.is_deficient or not np.isfinite(B).all() else ContractionLaw.from_first(svd, B)
    limit = 2 * max_sweeps
    planned, wanted = _plan(X, svd, law, limit)
    rows = [_measure(X, svd, A, B, updated_left=False)]
    for number, (A, B) in enumerate(islice(steps, planned - 1), start=2):
        rows.append(_measure(X, svd, A, B, updated_left=number % 2 == 0))
    objectives, angles, misfits = np.array(rows).T
    before, last = (law.at(planned - 1), law.at(planned)) if law else (Expected(0.0, 0.0, 0.0),) * 2
    return Trace(seed, A, B, objectives, angles, misfits, law, last, before, wanted)


def _until_breakdown(steps: Iterator[Factors]) -> Iterator[Factors]:
    """Pass on the factors as long as they are numbers; one pair that is not, or NaN for a failed solve, ends it."""
    factors = Factors(np.full((1, 1), np.nan), np.full((1, 1), np.nan))
    try:
        for factors in steps:
            yield Factors(*factors)
            if not all(np.isfinite(factor).all() for factor in factors):
                return
    except np.linalg.LinAlgError:
        yield Factors(*(np.full_like(factor, np.nan) for factor in factors))


def _plan(X: Matrix, svd: Svd, law: ContractionLaw | None, limit: int) -> tuple[int, float]:
    """Return the half-steps to make (even, at least 6) and those that the goal takes."""
    least = 6
    if law is None:
        return least, least
    gap_goal = max(ANGLE_GOAL**2 * svd.optimum, rounding_of_objective(X, svd.optimum))
    angle_goal = np.inf if svd.is_tied else max(ANGLE_GOAL, rounding_of_angles(svd))
    planned = law.half_steps_to(angle_goal, gap_goal, limit)
    wanted: float = planned
    reached = law.at(planned)
    if planned == limit and reached.angle > angle_goal:  # from there on one entry of T is left, and it falls as a power
        wanted += np.log(angle_goal / np.tan(reached.angle)) / np.log(svd.dropped / svd.kept)
    elif planned == limit and reached.gap > gap_goal:
        wanted = np.inf
    return max(least, planned + planned % 2), wanted


def rounding_of_angles(svd: Svd) -> float:
    """Return the angle between singular subspaces that rounding alone explains, radians (Wedin 1972)."""
    longer = max(svd.U.shape[0], svd.Vt.shape[1])
    return float(4 * np.sqrt(longer) * EPS * svd.s[0] / (svd.kept - svd.dropped))


def _measure(X: Matrix, svd: Svd, A: Matrix, B: Matrix, updated_left: bool) -> tuple[float, float, float]:
    if not (np.isfinite(A).all() and np.isfinite(B).all()):
        return np.inf, np.pi / 2, np.inf
    residual = X - A @ B
    value = 0.5 * float(np.vdot(residual, residual))
    normal = orthonormal(B.T).T @ residual.T if updated_left else orthonormal(A).T @ residual
    misfit = float(np.linalg.norm(normal)) / (float(np.linalg.norm(X)) or 1.0)
    angle = largest_angle(A, svd.left) if updated_left else largest_angle(B.T, svd.right)
    return value, angle, misfit


def largest_angle(factor: Matrix, best: Matrix) -> float:
    """Return the largest principal angle between two column spans, radians; a right angle where one is smaller."""
    if not (np.isfinite(factor).all() and factor.any() and best.any()):
        return float(np.pi / 2)
    angles = scipy.linalg.subspace_angles(factor, best)
    return float(angles[0]) if len(angles) == best.shape[1] else float(np.pi / 2)
