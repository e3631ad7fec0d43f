"""An estimate of a matrix's missing cells, and whether it is reliable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.factorization.heldout import hold_out
from analysis.factorization.masked import Mask, additive_effects, masked_als
from analysis.factorization.matrix import Matrix, as_matrix, require_rank
from search_spaces.errors import StudyError

MAX_RANK = 5
"""Largest rank tried where none is given."""
DRAWS = 4
"""Times that cells are held out to choose the rank, and again, with other cells, to judge the estimate."""


@dataclass(frozen=True)
class Completion:
    """A matrix with its missing cells estimated."""

    matrix: Matrix
    """Observed cells as they are, missing ones estimated."""
    rank: int
    """Rank of the part beyond row and column effects; 0 for none."""
    heldout_rmse: float
    """Error of the model on cells hidden from it, drawn again after the rank was chosen; NaN where none could be."""
    baseline_rmse: float
    """The same for row and column effects alone (the additive model)."""
    spread: float
    """The same for column means: what has to be explained."""
    reliable: bool
    """Whether the error is no more than the baseline's and less than a third of the spread: a ninth of the variance."""
    words: str


def complete(X: Matrix, rank: int | None = None, ridge: float = 0.03, seed: int = 0) -> Completion:
    """Estimate the missing cells (NaN) of ``X``, m x n, by row and column effects plus a product of low rank.

    ``rank`` is that of the product: 0 to min(m, n), or, if None, the one from 0 to 5 of least held-out error. ``ridge``
    is a share of the largest singular value of what the effects leave. The held-out cells imitate the missing ones: a
    row is given the gaps of another row, so that for trials stopped early the model is judged at extrapolating
    curves, not at filling holes; where nothing is missing they are random. The rows so judged are those that went on:
    if the stopped ones are of another shape, the estimate is worse than it looks. A row or column wholly missing
    is estimated by the other effects alone, and ``words`` says so. Raises StudyError for a matrix without any
    observed cell, or a rank or ridge that does not fit.
    """
    X = as_matrix(X)
    observed = ~np.isnan(X)
    if not observed.any():
        raise StudyError("the matrix has no observed cell: there is nothing to complete it from")
    if rank is not None:
        require_rank(X, rank, least=0)
    if not 0 < ridge < 1:
        raise StudyError(f"ridge is {ridge}, but must lie between 0 and 1, a share of the largest singular value")
    if rank is None:
        draws = [hold_out(observed, (seed, 0, draw)) for draw in range(DRAWS)]
        rank = _best_rank(X, draws, ridge)
    draws = [hold_out(observed, (seed, 1, draw)) for draw in range(DRAWS)]
    heldout = _heldout_rmse(X, draws, partial(_predict, rank=rank, ridge=ridge))
    baseline = _heldout_rmse(X, draws, partial(_predict, rank=0, ridge=ridge))
    spread = _heldout_rmse(X, draws, _column_means)
    reliable = bool(heldout <= baseline and heldout < spread / 3)
    words = _words(observed, rank, heldout, baseline, spread, reliable)
    return Completion(np.where(observed, X, _predict(X, rank, ridge)), rank, heldout, baseline, spread, reliable, words)


def _best_rank(X: Matrix, draws: Sequence[Mask], ridge: float) -> int:
    """Return the rank of least held-out error, from 0 to five; 0 where nothing could be held out."""
    tried = range(min(MAX_RANK, min(X.shape) - 1) + 1)
    errors = [_heldout_rmse(X, draws, partial(_predict, rank=rank, ridge=ridge)) for rank in tried]
    return int(np.nanargmin(errors)) if np.isfinite(errors).any() else 0


def _heldout_rmse(X: Matrix, draws: Sequence[Mask], model: Callable[[Matrix], Matrix]) -> float:
    """Return the root mean square error of ``model`` on the cells held out, over all draws."""
    errors = [(model(np.where(hidden, np.nan, X)) - X)[hidden] for hidden in draws]
    together = np.concatenate(errors)
    return float(np.sqrt(np.mean(together**2))) if together.size else float("nan")


def _predict(X: Matrix, rank: int, ridge: float) -> Matrix:
    """Return every cell by effects and a product of ``rank``, fitted to the observed cells of X."""
    mean = float(np.nanmean(X))  # an unknown effect is 0: about the mean, that is an average row or column
    rows, columns = additive_effects(X - mean)
    additive = mean + rows[:, None] + columns
    top = float(np.linalg.norm(np.nan_to_num(X - additive), 2))
    if rank == 0 or top <= 1e-12 * abs(additive).max():
        return additive
    return mean + masked_als(X - mean, rank, ridge * top, effects=True, tolerance=1e-6).prediction()


def _column_means(X: Matrix) -> Matrix:
    known = ~np.isnan(X)
    counts = known.sum(axis=0)
    means = np.where(counts, np.nansum(X, axis=0) / np.maximum(counts, 1), np.nanmean(X))
    return np.broadcast_to(means, X.shape)


def _words(observed: Mask, rank: int, heldout: float, baseline: float, spread: float, reliable: bool) -> str:
    missing = int((~observed).sum())
    words = f"{missing} of {observed.size} cells estimated by row and column effects"
    words += f" and a product of rank {rank}" if rank else ""
    if np.isnan(heldout):
        words += "; too few cells to hold any out, so nothing is known of the error"
    else:
        words += f"; error on held-out cells {heldout:.3g} (effects alone {baseline:.3g}, column means {spread:.3g})"
    words += "" if reliable else "; not reliable"
    for axis, name in ((1, "row"), (0, "column")):
        if empty := int((~observed.any(axis=axis)).sum()):
            words += f"; {empty} {name}(s) wholly missing: the estimate there is an average"
    return words
