"""All checks of one matrix at one rank."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.factorization.als import HalfSteps, als_half_steps
from analysis.factorization.checks import (
    check_balanced_pair,
    check_descent,
    check_factors_not_unique,
    check_least_squares,
    check_same_optimum,
    check_subspaces,
    check_unique_product,
)
from analysis.factorization.matrix import Matrix, require_complete, require_rank
from analysis.factorization.rates import check_gap_rate, check_subspace_rate
from analysis.factorization.result import CheckResult
from analysis.factorization.svd import Svd, truncated_svd
from analysis.factorization.trace import Trace, watch
from search_spaces.errors import StudyError

CHECKS = (
    check_descent,
    check_least_squares,
    check_same_optimum,
    check_unique_product,
    check_balanced_pair,
    check_factors_not_unique,
    check_subspaces,
    check_subspace_rate,
    check_gap_rate,
)


@dataclass(frozen=True)
class FactorizationReport:
    """What ALS did on a matrix, measured against its singular value decomposition."""

    matrix: Matrix
    svd: Svd
    traces: tuple[Trace, ...]
    checks: tuple[CheckResult, ...]
    notes: tuple[str, ...] = ()
    """What a reader should know of the matrix, in words."""

    @property
    def passed(self) -> bool:
        """Return whether no check failed."""
        return all(check.passed is not False for check in self.checks)


def check_factorization(
    X: Matrix,
    rank: int,
    starts: int = 5,
    seed: int = 0,
    als: HalfSteps = als_half_steps,
    max_sweeps: int = 500,
) -> FactorizationReport:
    """Run ``als`` from several random starts on ``X`` (m x n) and check all that theory claims of it.

    Each run is as long as the contraction law says is needed, at most ``max_sweeps``; where the limit cuts runs
    off, the tolerances are what the law expects there, and a claim that cannot be decided by then is "not applicable".
    Raises StudyError for a matrix with missing cells, or a rank or number of starts that does not fit.
    """
    X = require_complete(X)
    require_rank(X, rank)
    for name, value, least in (("starts", starts, 1), ("max_sweeps", max_sweeps, 3), ("seed", seed, 0)):
        if value < least:
            raise StudyError(f"{name} is {value}, but must be at least {least}")
    svd = truncated_svd(X, rank)
    traces = tuple(watch(X, svd, als, seed + start, max_sweeps) for start in range(starts))
    return FactorizationReport(X, svd, traces, tuple(check(X, svd, traces) for check in CHECKS), _notes(svd, traces))


def table(report: FactorizationReport) -> pd.DataFrame:
    """Return one row per check: check, verdict, measured, tolerance, words (units: those of the check's words)."""
    rows = [
        (check.name, check.verdict, next(iter(check.numbers.values())), check.tolerance, check.words)
        for check in report.checks
    ]
    return pd.DataFrame(rows, columns=["check", "verdict", "measured", "tolerance", "words"])


def _notes(svd: Svd, traces: tuple[Trace, ...]) -> tuple[str, ...]:
    m, n = svd.U.shape[0], svd.Vt.shape[1]
    notes = [
        f"the run of seed {trace.seed} broke down after {len(trace.objectives) - 1} half-steps: factors are not finite"
        for trace in traces
        if trace.broke_down
    ]
    if svd.s[0] == 0:
        notes.append(f"the {m} x {n} matrix is zero")
    elif svd.is_deficient:
        notes.append(f"the {m} x {n} matrix has a rank below {svd.rank}: the optimum is 0, and factors waste columns")
    return tuple(notes)
