"""The speed of ALS: what a sweep takes off the subspace error and off the objective's gap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.factorization.als import als_half_steps, rounding_of_objective
from analysis.factorization.law import Expected
from analysis.factorization.matrix import Matrix, require_rank
from analysis.factorization.result import CheckResult
from analysis.factorization.svd import Svd, truncated_svd
from analysis.factorization.trace import Trace, rounding_of_angles, watch

RATE = 0.02
"""Relative tolerance on the logarithm of a contraction."""
WINDOW = 10
"""Half-steps over which a contraction is measured, at most."""


def check_subspace_rate(X: Matrix, svd: Svd, traces: Sequence[Trace]) -> CheckResult:
    """Check that a sweep shrinks the subspace error, tan of the largest angle, by (s_{r+1} / s_r)^2."""
    name = "the subspace error contracts by (s_{r+1}/s_r)^2"
    if reason := _no_rate(svd):
        return _not_applicable(name, reason, svd.contraction)
    rounding = rounding_of_angles(svd)
    rates = [_rate(np.tan(trace.angles), trace, _tangent, rounding) for trace in traces]
    return _compare(name, rates, svd.contraction)


def check_gap_rate(X: Matrix, svd: Svd, traces: Sequence[Trace]) -> CheckResult:
    """Check that a sweep shrinks the objective's gap by (s_{r+1} / s_r)^4."""
    name = "the objective's gap contracts by the square of that"
    if reason := _no_rate(svd):
        return _not_applicable(name, reason, svd.contraction**2)
    rounding = rounding_of_objective(X, svd.optimum)
    rates = [_rate(trace.objectives - svd.optimum, trace, _gap, rounding) for trace in traces]
    return _compare(name, rates, svd.contraction**2)


def contraction_by_rank(X: Matrix, ranks: Iterable[int], seed: int = 0, max_sweeps: int = 100) -> pd.DataFrame:
    """Return predicted and measured contractions per sweep of one ALS run at each rank, two rows a rank.

    Columns: rank, quantity ("subspace error" or "objective gap"), predicted (the limit), law (in the sweeps measured),
    measured; ranks at which nothing can be measured are left out.
    """
    whole = truncated_svd(X, 1)
    rows = []
    for rank in ranks:
        require_rank(X, rank)
        svd = replace(whole, rank=rank)
        traces = [watch(X, svd, als_half_steps, seed, max_sweeps)]
        for quantity, check in (("subspace error", check_subspace_rate), ("objective gap", check_gap_rate)):
            found = check(X, svd, traces)
            if found.passed is not None:
                rows.append((rank, quantity, *(found.numbers[name] for name in ("predicted", "law", "measured"))))
    return pd.DataFrame(rows, columns=["rank", "quantity", "predicted", "law", "measured"])


def _compare(name: str, rates: Sequence[tuple[float, float] | None], limit: float) -> CheckResult:
    """Compare contractions per sweep with the law's; ``limit`` is what the law tends to.

    The law knows what the faster modes still add in the sweeps measured, so the tolerance need not allow for them.
    """
    measurable = [pair for pair in rates if pair is not None]
    if not measurable:
        return _not_applicable(
            name, "the sweeps above rounding take off too little, or are too few, to measure a rate", limit
        )
    error = max(abs(np.log(measured / law) / np.log(law)) for measured, law in measurable)
    measured, law = (float(np.median(column)) for column in zip(*measurable, strict=True))
    numbers = {"error": float(error), "measured": measured, "law": law, "predicted": limit}
    words = f"a sweep's factor: measured {measured:.5g}, expected in those sweeps {law:.5g}, in the limit {limit:.5g}"
    return CheckResult(name, numbers, RATE, bool(error <= RATE), words)


def _rate(series: Matrix, trace: Trace, of: Callable[[Expected], float], rounding: float) -> tuple[float, float] | None:
    """Return the measured and the expected contraction per sweep; None where rounding hides it.

    It is measured over the last sweeps in which the law expects values well above ``rounding``.
    """
    if trace.law is None or len(series) < 4:
        return None
    law = trace.law
    last = _last_above(100 * rounding, lambda half_step: of(law.at(half_step)), len(series))
    first = max(2 + last % 2, last - WINDOW)
    if first >= last:
        return None
    end = of(law.at(last))
    expected = end / of(law.at(first))
    if 2 * rounding / end > RATE * -np.log(expected):
        return None
    tiny = float(np.finfo(float).tiny)
    measured = max(series[last - 1], tiny) / max(series[first - 1], tiny)
    sweeps = (last - first) / 2
    return float(measured ** (1 / sweeps)), float(expected ** (1 / sweeps))


def _last_above(floor: float, value: Callable[[int], float], end: int) -> int:
    """Return the last half-step, from 2 to ``end``, whose falling ``value`` is above ``floor``; bisection."""
    low, high = 2, end
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if value(middle) > floor else (low, middle - 1)
    return low


def _no_rate(svd: Svd) -> str:
    if svd.is_tied:
        return f"s_{svd.rank} = s_{svd.rank + 1}: nothing contracts"
    if svd.is_deficient or svd.dropped <= svd.noise:
        return f"s_{svd.rank + 1} = 0: the first sweep does it all"
    return ""


def _not_applicable(name: str, reason: str, limit: float) -> CheckResult:
    return CheckResult(name, {"error": float("nan"), "predicted": limit}, RATE, None, reason)


def _tangent(expected: Expected) -> float:
    return float(np.tan(expected.angle))


def _gap(expected: Expected) -> float:
    return expected.gap
