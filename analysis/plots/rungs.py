"""Where trials stopped: how many trials of a search reached each epoch, and how many ended there."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from analysis.plots._words import sentence_case
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, themed
from analysis.store._rows import rows_of
from search_spaces.metrics import Metric, require_direction

_REASONS = ("completed", "pruned", "diverged", "failed")


def rung_data(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each epoch at which a trial ended: epoch, reached (trials that got there), how they ended."""
    ends = pd.crosstab(trials["epochs_trained"], trials["status"]).reindex(columns=list(_REASONS), fill_value=0)
    ends = ends.sort_index()
    reached = ends.sum(axis=1)[::-1].cumsum()[::-1]
    table = ends.assign(reached=reached).rename_axis("epoch").reset_index()
    table.columns.name = None
    return table[["epoch", "reached", *_REASONS]]


@themed
def draw_rungs(rungs: pd.DataFrame, *, width: float = PAGE, theme: Theme = LIGHT) -> Picture:
    """Draw ``rung_data`` as a bar for each rung: those that ended there by reason, and those that went on."""
    figure = new_figure(width, 0.75 + 0.27 * max(len(rungs), 2))
    ax = figure.subplots()
    colors = {
        "completed": theme.palette[0],
        "pruned": theme.palette[1],
        "diverged": theme.palette[6],
        "failed": theme.palette[3],
    }
    for place, row in enumerate(rungs.to_dict("records")):
        left = 0
        for reason in _REASONS:
            ax.barh(place, row[reason], left=left, height=0.62, color=colors[reason], linewidth=0)
            left += row[reason]
        on = row["reached"] - left
        ax.barh(place, on, left=left, height=0.62, color=theme.grid, linewidth=0)
        ax.annotate(
            f"{row['reached']}",
            (row["reached"], place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    for reason in _REASONS:
        if rungs[reason].any():
            ax.barh(0, 0, color=colors[reason], label=f"{reason} here")
    ax.barh(0, 0, color=theme.grid, label="continued")
    ax.set_yticks(range(len(rungs)), [f"epoch {epoch}" for epoch in rungs["epoch"]])
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    ax.set_xlabel("trials that trained at least so long")
    figure.legend(loc="outside lower center", ncols=5)
    total = int(rungs["reached"].max()) if len(rungs) else 0
    said = "; ".join(
        f"epoch {row.epoch}: {row.reached} reached, {row.pruned} pruned" for row in rows_of(rungs.head(10))
    )
    return Picture(
        figure,
        "Where trials stopped",
        f"Epochs at which trials ended (n = {total} trials; counts, so no interval). "
        "Bars: trials that trained at least so long.",
        f"Bars of trials by the epochs they trained. {said}.",
    )


@themed
def draw_rung_curves(
    epochs: pd.DataFrame, *, metric: Metric, most: int = 200, width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw the curve of each trial of a search, at most the ``most`` best, up to its last epoch."""
    is_higher_better = require_direction(metric)
    values = epochs.groupby("digest", sort=False)[metric.name]
    best = (values.max() if is_higher_better else values.min()).sort_values(ascending=not is_higher_better)
    chosen = epochs[epochs["digest"].isin(best.index[:most])]
    figure = new_figure(width, width * 0.42)
    ax = figure.subplots()
    for _, run in chosen.groupby("digest", sort=False):
        done = run["status"].iloc[0] == "completed"
        look: dict[str, Any] = {"color": theme.palette[0] if done else theme.muted, "linewidth": 1.0 if done else 0.6}
        shown = run[metric.name] * metric.scale
        ax.plot(run["epoch"], shown, alpha=0.8 if done else 0.5, zorder=3 if done else 2, **look)
        if not done:
            ax.plot(run["epoch"].iloc[-1], shown.iloc[-1], "x", color=theme.palette[1], markersize=3)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", ylabel=metric.axis)
    some = f"n = {most}, the best of {len(best)}" if len(best) > most else f"n = {len(best)}"
    return Picture(
        figure,
        "Every trial, up to its last epoch",
        f"{sentence_case(metric.label)} of each trial ({some} trials, one run each). Blue: trained in full; grey, "
        "ending at a cross: stopped at that epoch.",
        f"Learning curves of {chosen['digest'].nunique()} trials of a search.",
    )
