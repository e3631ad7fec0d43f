"""The order of the arms over seeds: Friedman's test, mean ranks and the critical difference.

Seeds are blocks: within each, arms are ranked. Friedman's test asks whether the mean ranks differ at all; Nemenyi's
critical difference (Demsar 2006) says by how much two must differ. Both use only the order within a seed, so with few
seeds they show little: at 5 seeds and 5 arms the critical difference is 2.7 of at most 4 ranks.
`analysis.stats.effects` has the greater power; this shows the order at a glance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.stats.paired import ALPHA
from analysis.stats.pairs import metric_table
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError
from search_spaces.metrics import require_direction


@dataclass(frozen=True)
class Ranking:
    """Arms by mean rank, 1 the best.

    ``friedman_p`` is NaN where all results are equal. ``groups`` are the sets of arms, next to each other in rank, that
    lie within the critical difference. ``seeds`` are the blocks used: those in which every arm was completed.
    """

    mean_ranks: pd.Series[float]
    friedman_p: float
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...]


def ranking(results: StudyResults, metric: str | None = None) -> Ranking:
    """Return the ranking of the arms by a metric; StudyError for fewer than 3 arms or 2 whole seeds."""
    metric = metric or results.metric
    values = metric_table(results, metric)
    return rank_arms(values if require_direction(results.metric_record(metric)) else -values)


def rank_arms(values: pd.DataFrame) -> Ranking:
    """Return the ranking of a table of arms by seeds, more being better; an arm without any figure is left out."""
    ran = values.dropna(how="all")
    whole = ran.dropna(axis=1)
    notes = [f"{arm}: no completed cell, left out" for arm in values.index.difference(ran.index)]
    if whole.shape[1] < ran.shape[1]:
        notes.append(f"{ran.shape[1] - whole.shape[1]} of {ran.shape[1]} seeds left out: not completed in every arm")
    k, n = whole.shape
    if k < 3 or n < 2:
        raise StudyError(f"a ranking needs 3 arms and 2 seeds that all of them completed, but there are {k} and {n}")
    mean_ranks = whole.rank(ascending=False).mean(axis=1).sort_values(kind="stable")
    with np.errstate(invalid="ignore"):
        friedman_p = float(stats.friedmanchisquare(*whole.to_numpy()).pvalue)
    width = critical_difference(k, n)
    return Ranking(
        mean_ranks=mean_ranks,
        friedman_p=friedman_p,
        critical_difference=width,
        groups=_groups(mean_ranks, width),
        seeds=tuple(int(seed) for seed in whole.columns),
        notes=tuple(notes),
    )


def critical_difference(arms: int, seeds: int, alpha: float = ALPHA) -> float:
    """Return the least difference of mean ranks that Nemenyi's test finds: q sqrt(k (k + 1) / 6 N)."""
    q = stats.studentized_range.ppf(1 - alpha, arms, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(arms * (arms + 1) / (6 * seeds)))


def _groups(ranks: pd.Series[float], width: float) -> tuple[tuple[str, ...], ...]:
    """Return the longest runs of neighbours within ``width``, none inside another."""
    found: list[tuple[str, ...]] = []
    last = 0
    for start in range(len(ranks)):
        stop = int((ranks <= ranks.iloc[start] + width).sum())
        if stop > last and stop - start > 1:
            found.append(tuple(ranks.index[start:stop]))
        last = max(last, stop)
    return tuple(found)
