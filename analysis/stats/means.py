"""The figures of completed trials, their means by arm, and published figures to compare with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.stats.distributions import t_isf
from search_spaces.published import Figure


def seed_data(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return arm, seed and value for every trial; NaN for one not completed: its figure is of a shorter training.

    A figure that is not finite is none.
    """
    value = trials[metric].where(trials["status"] == "completed").astype(float)
    return trials[["arm", "seed"]].assign(value=value.where(np.isfinite(value))).reset_index(drop=True)


def mean_data(seeds: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Return arm, n, missing, mean, low, high for each arm of ``seed_data``: the t interval of the mean."""
    rows = []
    for arm, group in seeds.groupby("arm", sort=False):
        values = group["value"].dropna().to_numpy(float)
        n = len(values)
        mean = values.mean() if n else np.nan
        half = t_isf((1 - confidence) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        rows.append((arm, n, len(group) - n, mean, mean - half, mean + half))
    return pd.DataFrame(rows, columns=["arm", "n", "missing", "mean", "low", "high"])


def reported_data(trials: pd.DataFrame, figures: Sequence[Figure]) -> pd.DataFrame:
    """Return arm, metric, reported, n, mean, low, high (95 % t interval) and note for each published figure.

    Ours is NaN with n = 0 where the arm has no completed trial. A figure about a metric that was not recorded is left
    out.
    """
    rows = []
    for figure in figures:
        if figure.metric not in trials.columns:
            continue
        means = mean_data(seed_data(trials[trials["arm"] == figure.arm], figure.metric))
        ours = means.iloc[0].to_dict() if len(means) else {"n": 0, "mean": np.nan, "low": np.nan, "high": np.nan}
        kept = {name: ours[name] for name in ("n", "mean", "low", "high")}
        own = {"arm": figure.arm, "metric": figure.metric, "reported": figure.value}
        rows.append(own | kept | {"note": figure.note})
    return pd.DataFrame(rows, columns=["arm", "metric", "reported", "n", "mean", "low", "high", "note"])
