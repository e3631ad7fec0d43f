"""Claims of an order: do the arms rank as published?

An order of k arms says that each arm is better than the next. It is shown where every one of these k - 1 steps is, each
at 5 %: since all of them are needed, no correction for their number is (intersection-union test; Berger 1982). Page's
trend test is given beside it. It shows some trend in this order, which one arm far from equal others gives, too.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np

from analysis.stats.effects import compare_arms
from analysis.stats.paired import ALPHA, Floats, one_sided
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
    """Return the columns of a claim that the arms rank in ``order`` (best first): n, p_claim, outcome, words.

    ``p_claim``: the largest one-sided p of the steps. ``outcome``: the place in `claims.OUTCOMES`. Held: each step is
    shown. Too small to matter: each is real, and one or more smaller than the rope. Did not hold: a pair is shown the
    other way round, by the verdicts of all pairs (Holm over the pairs).
    """
    table = metric_table(results, metric).loc[list(order)]
    higher = require_direction(results.metric_record(metric))
    values = table.to_numpy(float) if higher else -table.to_numpy(float)
    steps = [_step(results, pair, metric, rope, higher) for pair in pairwise(order)]
    pairs = list(combinations(order, 2))
    verdicts = compare_arms(results, pairs, metric, rope)["verdict"]
    in_order, against = int((verdicts == "better").sum()), int((verdicts == "worse").sum())
    shown, n = sum(is_shown for is_shown, _ in steps), int(np.isfinite(values).all(axis=0).sum())
    words = (
        f"{shown} of {len(steps)} steps are shown; of all {len(pairs)} pairs {in_order} are shown in this order and "
        f"{against} the other way round; {_trend(values, n)}"
    )
    p = float(np.max([p for _, p in steps]))  # NaN where one is
    outcome = 0 if shown == len(steps) else 1 if p < ALPHA / 2 else 2 if against else 3
    return {"n": n, "p_claim": p, "outcome": outcome, "words": words}


def _step(
    results: StudyResults, pair: tuple[str, str], metric: str, rope: float | None, higher: bool
) -> tuple[bool, float]:
    """Return whether the first arm of a pair is shown to be better than the second, and the one-sided p."""
    row = compare_arms(results, [pair], metric, rope).iloc[0]
    gain = row["difference"] if higher else -row["difference"]
    p = float("nan") if row["withheld"] else one_sided(float(row["p_t"]), bool(gain > 0))
    return row["verdict"] == "better", p


def _trend(values: Floats, n: int) -> str:
    """Return Page's test and Kendall's tau of the means in words."""
    if n < 2:
        return f"no trend test with {n} complete {'seed' if n == 1 else 'seeds'}"
    from scipy import stats  # takes most of a second to import

    tau = float(stats.kendalltau(np.arange(len(values)), -np.nanmean(values, axis=1)).statistic)
    text = f"trend over all arms: p = {page_p(values):.2g} (Page's test, n = {n}), Kendall's tau of the means {tau:.2f}"
    return text.replace("-", "−")
