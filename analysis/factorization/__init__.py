"""Unconstrained matrix factorization: alternating least squares against the singular value decomposition.

`check_factorization` runs ALS from several starts and checks what theory claims of it; `complete` estimates the missing
cells of a matrix; `read_matrix`, `read_image`, `curves_matrix` and `arms_by_seeds` make matrices.
"""

from __future__ import annotations

from analysis.factorization.als import AlsRun, Factors, HalfSteps, als, als_half_steps, objective
from analysis.factorization.completion import Completion, complete
from analysis.factorization.law import ContractionLaw
from analysis.factorization.masked import MaskedRun, masked_als
from analysis.factorization.matrix import Matrix, read_image, read_matrix
from analysis.factorization.rates import contraction_by_rank
from analysis.factorization.report import FactorizationReport, check_factorization, table
from analysis.factorization.result import CheckResult
from analysis.factorization.study import arms_by_seeds, curves_matrix
from analysis.factorization.svd import Svd, truncated_svd
from analysis.factorization.trace import Trace

__all__ = [
    "AlsRun",
    "CheckResult",
    "Completion",
    "ContractionLaw",
    "FactorizationReport",
    "Factors",
    "HalfSteps",
    "MaskedRun",
    "Matrix",
    "Svd",
    "Trace",
    "als",
    "als_half_steps",
    "arms_by_seeds",
    "check_factorization",
    "complete",
    "contraction_by_rank",
    "curves_matrix",
    "masked_als",
    "objective",
    "read_image",
    "read_matrix",
    "table",
    "truncated_svd",
]
