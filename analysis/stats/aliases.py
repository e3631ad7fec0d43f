"""Which effects of a design are confounded, computed from the arms that are present.

An effect is the space of its contrasts over the arms. Two effects are aliased where their spaces coincide (in a
fraction of a two-level design: the columns of signs are equal or opposite); they are partly aliased where some
direction of one lies in the other. An effect can be estimated where its space adds as many dimensions as it has
degrees of freedom.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.stats.paired import Floats

Term = tuple[str, ...]
_SAME = 1e-8


def term_name(term: Term) -> str:
    """Return an effect as it is written: ``model.norm:batch_size``."""
    return ":".join(term)


def alias_table(arms: pd.DataFrame, max_order: int = 3) -> pd.DataFrame:
    """Return the effects of up to ``max_order`` factors that others coincide with, a row for each.

    ``arms``: a row for each arm, a column of levels for each factor. Columns: effect, aliased_with (effects joined by
    " = ").
    """
    factors = list(arms.columns)
    terms = [t for size in range(1, max_order + 1) for t in itertools.combinations(factors, size)]
    spaces = {term: _orthonormal(_contrasts(arms, term)) for term in terms}
    rows = []
    for term in terms:
        twins = [term_name(other) for other in terms if other != term and _coincide(spaces[term], spaces[other])]
        if twins:
            rows.append({"effect": term_name(term), "aliased_with": " = ".join(twins)})
    return pd.DataFrame(rows, columns=["effect", "aliased_with"])


def estimable_terms(arms: pd.DataFrame, terms: Sequence[Term]) -> list[Term]:
    """Return the terms that can be estimated in addition to those before them, in order."""
    kept: list[Term] = []
    space = np.ones((len(arms), 1)) / np.sqrt(len(arms))
    for term in terms:
        columns = _contrasts(arms, term)
        rest = _orthonormal(columns - space @ (space.T @ columns))
        if rest.shape[1] == columns.shape[1]:
            kept.append(term)
            space = np.hstack([space, rest])
    return kept


def _contrasts(arms: pd.DataFrame, term: Term) -> Floats:
    """Return the effect's sum-to-zero contrasts, shape (arms, degrees of freedom)."""
    columns = np.ones((len(arms), 1))
    for factor in term:
        dummies = pd.get_dummies(arms[factor].astype(str)).to_numpy(float)
        sums = dummies[:, 1:] - dummies[:, :1]
        columns = (columns[:, :, None] * sums[:, None, :]).reshape(len(arms), -1)
    return columns


def _orthonormal(columns: Floats) -> Floats:
    """Return an orthonormal basis of the columns' span."""
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    basis: Floats = left[:, sizes > _SAME * np.sqrt(len(columns))]
    return basis


def _coincide(one: Floats, other: Floats) -> bool:
    if not one.shape[1] or one.shape[1] != other.shape[1]:
        return False
    return bool(np.linalg.svd(one.T @ other, compute_uv=False).min() > 1 - _SAME)
