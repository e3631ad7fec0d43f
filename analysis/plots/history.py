"""A search trial by trial: what each reached, and the best so far."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots._words import sentence_case
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, themed
from search_spaces.metrics import Metric, require_direction


def history_data(trials: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return trial (from 1, in order of start), value, status and best (so far) for trials that have a value."""
    known = trials.dropna(subset=[metric.name]).sort_values("started_at", kind="stable")
    values = known[metric.name].to_numpy(float)
    best = np.maximum.accumulate(values) if require_direction(metric) else np.minimum.accumulate(values)
    return pd.DataFrame(
        {"trial": np.arange(1, len(known) + 1), "value": values, "status": known["status"].to_numpy(), "best": best}
    )


@themed
def draw_history(history: pd.DataFrame, *, metric: Metric, width: float = PAGE, theme: Theme = LIGHT) -> Picture:
    """Draw ``history_data``: completed trials filled, the others open, the best so far as a line."""
    figure = new_figure(width, width * 0.42)
    ax = figure.subplots()
    size = 14 if len(history) <= 300 else 5
    done = history[history["status"] == "completed"]
    cut = history[history["status"] != "completed"]
    many = len(history) > 2000
    look: dict[str, Any] = {"s": size, "linewidth": 0.7, "rasterized": many}
    ax.scatter(
        cut["trial"], cut["value"] * metric.scale, facecolors="none", edgecolors=theme.muted, label="stopped", **look
    )
    ax.scatter(done["trial"], done["value"] * metric.scale, color=theme.palette[0], label="completed", zorder=3, **look)
    ax.step(history["trial"], history["best"] * metric.scale, where="post", color=theme.palette[1], label="best so far")
    ax.set(xlabel="trial, in order of start", ylabel=metric.axis)
    figure.legend(loc="outside lower center", ncols=3)
    return Picture(
        figure,
        "Optimization history",
        f"{sentence_case(metric.label)} of each trial at its best epoch (n = {len(history)} trials, one run each, "
        f"no interval; {len(cut)} were stopped before their last epoch).",
        f"Scatter of {len(history)} trials; the best so far ends at {metric.show(history['best'].iloc[-1])}."
        if len(history)
        else "No trial has a value yet.",
    )
