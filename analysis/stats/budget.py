"""Expected best validation figure of each arm against the number of trials, and where the order of arms changes.

The first trial of a search inside an arm has the arm's own values, the others are random points. So with a budget of k
trials one has the first and the best of k - 1 random ones, and the unbiased estimate of what is expected of that is the
mean over all subsets of k - 1 of the random trials (`analysis.stats.expected_validation`; Dodge et al. 2019). Repeats
are independent, so the band is the t interval over repeats, at each k by itself. Points of a Sobol sequence cover the
range more evenly than independent draws: for k below the number of trials the estimate is that of independent draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.stats.distributions import t_isf
from analysis.stats.expected_validation import expected_best
from analysis.stats.paired import ALPHA, Floats
from analysis.store.load import StudyResults
from search_spaces.metrics import Metric, require_direction
from search_spaces.plan import make_plan


def best_of_budget(values: Floats, *, higher_is_better: bool = True) -> Floats:
    """Return for k = 1 ... n the expected best of the first trial and k - 1 of the others, shape (n,).

    ``values``: one search, the trial with the arm's own values first; a lost trial has the worst possible value.
    """
    best = np.maximum if higher_is_better else np.minimum
    if len(values) == 1:
        return np.asarray(values, float)
    with_first = best(values[1:], values[0])
    return np.concatenate([values[:1], expected_best(with_first, higher_is_better=higher_is_better)])


def budget_curves(results: StudyResults, alpha: float = ALPHA) -> pd.DataFrame:
    """Return arm, trials (the budget k), mean, low, high, repeats: the curve over the repeats whose trials all ended.

    In the unit of the metric that chooses. A trial that failed or diverged counts as the worst value that the metric
    can have, or, where it has no bound, the worst of the study; no curves where there is none. ``low`` and ``high`` are
    NaN with one repeat.
    """
    metric = results.metric_record(results.choose_by)
    rows: list[tuple[Any, ...]] = []
    for arm, curves in _curves(results, metric).items():
        mean, n = curves.mean(axis=0), len(curves)
        spread = curves.std(axis=0, ddof=1) if n > 1 else np.full(curves.shape[1], np.nan)
        half = t_isf(alpha / 2, max(n - 1, 1)) * spread / np.sqrt(n)
        budgets = range(1, curves.shape[1] + 1)
        rows += zip([arm] * len(mean), budgets, mean, mean - half, mean + half, [n] * len(mean), strict=True)
    return pd.DataFrame(rows, columns=["arm", "trials", "mean", "low", "high", "repeats"])


def _curves(results: StudyResults, metric: Metric) -> dict[str, Floats]:
    """Return the curves of each arm, shape (repeats, trials), over the repeats whose planned cells have all ended.

    A point that was drawn twice is one cell; its value counts for each trial that drew it.
    """
    tuning, higher = results.tuning, require_direction(metric)
    if not len(tuning):
        return {}
    worst = _worst(tuning, metric)
    if not np.isfinite(worst):
        return {}
    values = tuning[metric.name].where(tuning["status"] == "completed").astype(float).fillna(worst)
    reached = dict(zip(tuning["digest"], values, strict=True))
    found: dict[str, list[Floats]] = {str(arm): [] for arm in dict.fromkeys(tuning["arm"])}
    for (arm, _), digests in _planned(results).items():
        if all(digest in reached for digest in digests):
            search = np.array([reached[digest] for digest in digests])
            found.setdefault(arm, []).append(best_of_budget(search, higher_is_better=higher))
    return {arm: np.stack(curves) for arm, curves in found.items() if curves}


def _planned(results: StudyResults) -> dict[tuple[str, int], list[str]]:
    """Return the digest of each planned trial in order, by arm and repeat."""
    assert results.spec is not None
    found: dict[tuple[str, int], list[str]] = {}
    for trial in make_plan(results.spec).tuning:
        found.setdefault((trial.arm.name, trial.repeat), []).append(trial.cell.digest)
    return found


def _worst(tuning: pd.DataFrame, metric: Metric) -> float:
    low, high = metric.bounds
    bound, values = (low, tuning[metric.name].min()) if metric.higher_is_better else (high, tuning[metric.name].max())
    return float(values if bound is None else bound)


def crossings(curves: pd.DataFrame, reference: str) -> list[tuple[str, int, bool]]:
    """Return (arm, k, ahead) where the order of an arm's mean and the reference's changes: at k trials, above or not.

    ``ahead``: whether the arm's mean is above the reference's from k on.
    """
    means = curves.pivot(index="arm", columns="trials", values="mean")
    found = []
    for arm in (name for name in means.index if name != reference and reference in means.index):
        signs = np.sign((means.loc[arm] - means.loc[reference]).dropna())
        signs = signs[signs != 0]
        changed = signs.ne(signs.shift()).to_numpy()[1:]
        found += [(str(arm), int(k), bool(signs[k] > 0)) for k in signs.index[1:][changed]]
    return found
