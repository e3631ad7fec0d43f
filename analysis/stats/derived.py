"""Metrics that are computed from several columns or tables of the store: those that only claims are about."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from analysis.stats.flatness import landscape_measures, log10
from analysis.store.load import StudyResults
from search_spaces.metrics import CLAIM_METRICS, CLEAN_METRICS, LANDSCAPE_METRICS


def is_computed(results: StudyResults, metric: str) -> bool:
    """Return whether a metric is one of `CLAIM_METRICS`, and not one that the study declares under the same name."""
    declared = results.spec.metric_records() if results.spec is not None else ()
    return metric in CLAIM_METRICS and metric not in declared


def with_metric(results: StudyResults, metric: str) -> StudyResults:
    """Return the results with a column of ``metric`` in the trials table where it is computed."""
    if not is_computed(results, metric):
        return results
    trials = results.trials
    if metric in LANDSCAPE_METRICS:
        values = landscape_measures(results)[metric]
    elif metric in CLEAN_METRICS:
        values = _stored(trials, metric)
    elif metric == "accuracy_gap":
        values = _stored(trials, "train_accuracy") - _stored(trials, "val_accuracy")
    elif metric == "clean_accuracy_gap":
        values = _stored(trials, "train_clean_accuracy") - _stored(trials, "val_accuracy")
    else:
        values = trials["digest"].map(feature_measures(results.quantiles)[metric]).astype(float)
    return dataclasses.replace(results, trials=trials.assign(**{metric: values}))


def _stored(trials: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of trials; NaN where the store has none."""
    return trials[column].astype(float) if column in trials else pd.Series(np.nan, trials.index)


def feature_measures(quantiles: pd.DataFrame) -> pd.DataFrame:
    """Return feature_spread and feature_drift of each trial, indexed by digest; see `CLAIM_METRICS`.

    ``quantiles``: the store's table, of which the layer "features" is used. NaN for a drift over one epoch.
    """
    features = quantiles[quantiles["layer"] == "features"].dropna(subset=["value"])
    found = {}
    for digest, rows in features.groupby("digest"):
        table = rows.pivot_table(index="epoch", columns="percentile", values="value", aggfunc="last").sort_index()
        spread = float(table.iloc[-1].max() - table.iloc[-1].min())
        moved = float(np.nanmean(np.abs(np.diff(table.to_numpy(float), axis=0)))) if len(table) > 1 else float("nan")
        found[str(digest)] = {"feature_spread": log10(spread), "feature_drift": log10(moved / (spread or np.nan))}
    return pd.DataFrame.from_dict(found, orient="index", columns=["feature_spread", "feature_drift"]).astype(float)
