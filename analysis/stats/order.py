"""Claims of an order: do the arms rank as published?"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.stats.effects import compare_arms
from analysis.stats.paired import ALPHA, Floats
from analysis.stats.pairs import metric_table
from analysis.store.load import StudyResults
from search_spaces.metrics import require_direction


def page_p(values: Floats) -> float:
    """Return the p of Page's trend test (1963) that the rows of ``values`` fall from the first to the last.

    ``values``: (arms in the claimed order, seeds), higher is better; the seeds are the blocks. Seeds with a missing
    value are left out; NaN where fewer than 2 remain.
    """
    complete = values[:, np.isfinite(values).all(axis=0)]
    if complete.shape[1] < 2 or len(values) < 3:
        return float("nan")
    from scipy import stats  # takes most of a second to import

    return float(stats.page_trend_test(complete.T[:, ::-1]).pvalue)


def compare_order(results: StudyResults, order: tuple[str, ...], metric: str, rope: float | None) -> dict[str, Any]:
    """Return the columns of a claim that the arms rank in ``order`` (best first): n, p_claim, shown, reversed, words.

    ``reversed`` counts pairs that are shown the other way round, by the verdicts of all pairs (Holm over the pairs).
    """
    table = metric_table(results, metric).loc[list(order)]
    higher = require_direction(results.metric_record(metric))
    values = table.to_numpy(float) if higher else -table.to_numpy(float)
    pairs = [(first, second) for i, first in enumerate(order) for second in order[i + 1 :]]
    verdicts = compare_arms(results, pairs, metric, rope)["verdict"]
    shown, against = int((verdicts == "better").sum()), int((verdicts == "worse").sum())
    means = np.nanmean(values, axis=1) if np.isfinite(values).any(axis=1).all() else np.full(len(order), np.nan)
    from scipy import stats  # takes most of a second to import

    tau = float(stats.kendalltau(np.arange(len(order)), -means).statistic)
    p, n = page_p(values), int(np.isfinite(values).all(axis=0).sum())
    words = (
        f"Kendall's tau between the published order and ours {tau:.2f}; trend in this order: p = {p:.2g} (Page's test, "
        f"n = {n}); of {len(pairs)} pairs {shown} are shown in this order and {against} the other way round"
    ).replace("-", "−")
    return {"n": n, "p_claim": p, "reversed": against, "words": words}


def order_outcome(p: float, against: int) -> tuple[bool, bool]:
    """Return whether a claimed order held, and whether it did not hold: a pair is shown the other way round."""
    return bool(p < ALPHA and not against), against > 0
