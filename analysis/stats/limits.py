"""What is known about a metric's values beside the values: its step, its chance level, and the runs that gave none."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.stats.collapse import Bools
from analysis.store.load import StudyResults
from search_spaces.metrics import quantity_of, split_of

_SHARES = ("accuracy", "f1_micro")
LOST = ("diverged", "failed", "pruned")
"""Statuses of a run that was started and gave no result."""


def resolution(results: StudyResults, metric: str) -> float:
    """Return the smallest step of a metric: 1 / N for an accuracy over N test images; 0 where it is not known."""
    if split_of(metric) != "test" or quantity_of(metric) not in _SHARES or "test_confusion" not in results.trials:
        return 0.0
    images = {int(np.sum(confusion)) for confusion in results.trials["test_confusion"] if confusion is not None}
    images.discard(0)
    return 1 / min(images) if images else 0.0


def chance_level(results: StudyResults, metric: str) -> float | None:
    """Return what guessing gives in a metric: 1 / classes for an accuracy; None where it is not known."""
    if quantity_of(metric) not in _SHARES or "classes" not in results.trials:
        return None
    classes = {len(names) for names in results.trials["classes"] if names is not None}
    return 1 / classes.pop() if len(classes) == 1 else None


def lost_cells(results: StudyResults, table: pd.DataFrame, metric: str) -> Bools:
    """Return where a cell of ``table`` (arms by seeds) was started and gave no result: its last trial is in `LOST`.

    So is a completed trial whose figure is not finite. One without any figure is lost only in the study's own metric:
    another metric, such as one of a loss landscape, may not have been measured.
    """
    last = results.trials.drop_duplicates(["arm", "seed"], keep="last")
    figures = last[metric].astype(float)
    measured = figures.notna() | (metric == results.metric)
    empty = (last["status"] == "completed") & measured & ~np.isfinite(figures)
    lost = last.assign(_lost=last["status"].isin(LOST) | empty).pivot(index="arm", columns="seed", values="_lost")
    return lost.reindex(index=table.index, columns=table.columns).eq(True).to_numpy(bool)
