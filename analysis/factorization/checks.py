"""What must hold for alternating least squares on a matrix, each claim as a check that can fail.

Three outcomes: passed, failed, and not applicable (None), where the claim says nothing about this matrix or the run
was too short to decide; a check never passes because evidence is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from analysis.factorization.als import EPS, objective, rounding_of_objective
from analysis.factorization.matrix import Matrix
from analysis.factorization.result import CheckResult
from analysis.factorization.svd import Svd
from analysis.factorization.trace import Trace, largest_angle, rounding_of_angles

RELATIVE_GAP = 1e-9
RELATIVE_PRODUCT = 1e-7
ANGLE = 1e-7
MISFIT = 1e-8
TOO_SHORT = 1e-3
"""Where the law expects a relative error above this at the sweep limit, the run is too short to decide."""


def check_descent(X: Matrix, svd: Svd, traces: Sequence[Trace]) -> CheckResult:
    """Check that no half-step raises the objective, by more than rounding does."""
    rises = [float(np.max(_rises(X, trace.objectives), initial=-np.inf)) for trace in traces]
    rise = float(np.max(rises))
    steps = sum(len(trace.objectives) - 1 for trace in traces)
    passed = bool(rise <= 1) and min(len(trace.objectives) for trace in traces) > 1
    words = f"largest change of 1/2 ||X - AB||^2 in {steps} half-steps: {rise:+.2g} times its rounding error"
    return CheckResult("every half-step lowers the objective", {"rise": rise}, 1.0, passed, words)


def check_least_squares(X: Matrix, svd: Svd, traces: Sequence[Trace]) -> CheckResult:
    """Check that every half-step leaves a residual orthogonal to the factor it kept."""
    misfit = max(float(np.max(trace.misfits)) for trace in traces)
    words = f"the residual's part within the kept factor's span is {misfit:.1e} of ||X|| at most"
    name = "every half-step is a least-squares solution"
    return CheckResult(name, {"misfit": misfit}, MISFIT, bool(misfit <= MISFIT), words)


def check_same_optimum(X: Matrix, svd: Svd, traces: Sequence[Trace]) -> CheckResult:
    """Check that every start ends at the Eckart-Young optimum, as near as the law expects by then."""
    rounding = rounding_of_objective(X, svd.optimum)
    unit = svd.optimum if svd.optimum > rounding else max(0.5 * float(np.vdot(X, X)), np.finfo(float).tiny)
    gaps = np.array([trace.objectives[-1] - svd.optimum for trace in traces]) / unit
    expected = max(trace.expected.gap for trace in traces) / unit
    tolerance = RELATIVE_GAP + rounding / unit + 1.05 * expected
    worst = float(np.max(np.abs(gaps)))
    spread = worst if np.isinf(worst) else float(np.ptp(gaps))
    numbers = {"gap": worst, "spread": spread, "expected": expected, "optimum": svd.optimum}
    of_what = "optimum" if unit == svd.optimum else "1/2 ||X||^2 (the optimum is 0)"
    words = f"{len(traces)} starts end within {worst:.1e} of the {of_what}; expected by then: {expected:.1e}"
    passed = _verdict(worst <= tolerance, expected)
    return CheckResult("all starts end at the same optimum", numbers, tolerance, passed, words + _limit_note(traces))


def check_unique_product(X: Matrix, svd: Svd, traces: Sequence[Trace]) -> CheckResult:
    """Check that every start's product is U_r S_r V_r^T; only where s_r > s_{r+1}, or X itself is reached."""
    name = "the product AB is unique"
    best = svd.product()
    unit = float(np.linalg.norm(best)) or 1.0
    products = [trace.A @ trace.B for trace in traces]
    error = max(float(np.linalg.norm(product - best)) for product in products) / unit
    apart = max((float(np.linalg.norm(p - q)) / unit for p, q in combinations(products, 2)), default=0.0)
    expected = max(trace.expected.product_error for trace in traces) / unit
    tolerance = RELATIVE_PRODUCT + 1.05 * expected
    numbers = {"error": error, "apart": apart, "expected": expected}
    if svd.is_tied:
        words = f"s_{svd.rank} = s_{svd.rank + 1}: several products are best; the starts' lie {apart:.1e} apart"
        return CheckResult(name, numbers, tolerance, None, words)
    words = f"||AB - U_r S_r V_r^T|| is {error:.1e} of the norm at most, {apart:.1e} between starts"
    passed = _verdict(error <= tolerance, expected)
    return CheckResult(name, numbers, tolerance, passed, words + _limit_note(traces))


def check_balanced_pair(X: Matrix, svd: Svd, traces: Sequence[Trace]) -> CheckResult:
    """Check that A = U_r S_r^1/2, B = S_r^1/2 V_r^T has the optimal value and a zero gradient."""
    A, B = svd.balanced_factors()
    energy = float(np.vdot(X, X)) or 1.0
    residual = X - A @ B
    scale = float(np.sqrt(svd.s[0])) * np.sqrt(energy) or 1.0
    gradient = max(float(np.linalg.norm(residual @ B.T)), float(np.linalg.norm(A.T @ residual))) / scale
    gap = abs(objective(X, A, B) - svd.optimum) / (energy / 2)
    balance = float(np.linalg.norm(A.T @ A - B @ B.T)) / (float(svd.s[0]) or 1.0)
    worst = max(gap, gradient, balance)
    tolerance = 1e-12 * np.sqrt(max(X.shape))
    numbers = {"worst": worst, "gap": gap, "gradient": gradient, "imbalance": balance}
    words = f"A = U_r S_r^1/2, B = S_r^1/2 V_r^T: gap {gap:.1e}, gradient {gradient:.1e}, ||A'A - BB'|| {balance:.1e}"
    return CheckResult("the balanced pair is optimal", numbers, tolerance, bool(worst <= tolerance), words)


def check_factors_not_unique(X: Matrix, svd: Svd, traces: Sequence[Trace]) -> CheckResult:
    """Check that (A R, R^-1 B) has the same product, objective and spans, though its factors differ."""
    A, B = traces[0].A, traces[0].B
    R = _invertible(A.shape[1], traces[0].seed)
    moved_A, moved_B = A @ R, np.linalg.solve(R, B)
    product = A @ B
    change = float(np.linalg.norm(moved_A @ moved_B - product)) / (float(np.linalg.norm(product)) or 1.0)
    moved = float(np.linalg.norm(moved_A - A)) / (float(np.linalg.norm(A)) or 1.0)
    angle = 0.0 if svd.is_deficient else largest_angle(moved_A, A)
    tolerance = 1e-10
    numbers = {"product change": change, "factor change": moved, "angle": angle}
    words = f"(A R, R^-1 B): the product moves by {change:.1e}, A by {moved:.0%}, its span by {angle:.1e} rad"
    same = change <= tolerance and angle <= ANGLE + (0 if svd.is_deficient else 100 * EPS * np.linalg.cond(A))
    different = moved > 0.01 or not product.any()
    return CheckResult("the factors are not unique", numbers, tolerance, bool(same and different), words)


def check_subspaces(X: Matrix, svd: Svd, traces: Sequence[Trace]) -> CheckResult:
    """Check that the factors span the leading singular subspaces; only where those are unique."""
    name = "the factors span the leading singular subspaces"
    worst = max(max(largest_angle(trace.A, svd.left), largest_angle(trace.B.T, svd.right)) for trace in traces)
    if svd.is_tied or svd.is_deficient:
        reason = f"s_{svd.rank} = 0" if svd.is_deficient else f"s_{svd.rank} = s_{svd.rank + 1}"
        return CheckResult(name, {"angle": worst}, ANGLE, None, f"{reason}: the leading subspace is not unique")
    expected = max(trace.expected_before.angle for trace in traces)
    tolerance = ANGLE + rounding_of_angles(svd) + 1.05 * expected
    words = f"largest principal angle to U_r and V_r: {worst:.1e} rad{_limit_note(traces)}"
    passed = _verdict(worst <= tolerance, expected)
    return CheckResult(name, {"angle": worst, "expected": expected}, tolerance, passed, words)


def _verdict(within: bool, expected: float) -> bool | None:
    return None if within and expected > TOO_SHORT else bool(within)


def _limit_note(traces: Sequence[Trace]) -> str:
    wanted = max(trace.half_steps_wanted for trace in traces)
    if all(trace.reached_goal for trace in traces):
        return ""
    return f"; cut off after {len(traces[0].objectives) // 2} sweeps, full precision takes {wanted / 2:,.0f}"


def _rises(X: Matrix, objectives: Matrix) -> Matrix:
    """Return each half-step's rise of the objective in units of its rounding error."""
    rounding = np.array([rounding_of_objective(X, value) for value in objectives[:-1]])
    rises: Matrix = np.diff(objectives) / np.maximum(rounding, np.finfo(float).tiny)
    return rises


def _invertible(rank: int, seed: int) -> Matrix:
    """Return a random rank x rank matrix of condition number 4."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((rank, rank)))[0] for _ in range(2))
    matrix: Matrix = (left * np.geomspace(2, 0.5, rank)) @ right
    return matrix
