"""What a metric costs: each arm's mean against its training time, and the Pareto front."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.plots._words import sentence_case, span
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.store._rows import rows_of
from search_spaces.metrics import COMMON_METRICS, Metric, require_direction

TIME = COMMON_METRICS["seconds"]


def cost_data(trials: pd.DataFrame, metric: Metric, cost: str = TIME.name) -> pd.DataFrame:
    """Return arm, n, cost, value, on_front over completed trials: means, and whether no arm is as cheap and better.

    An arm is on the Pareto front if every arm that costs no more reaches less (or exactly as much at the same cost).
    """
    done = trials[trials["status"] == "completed"].dropna(subset=[metric.name, cost])
    value = metric.name
    table = done.groupby("arm", sort=False).agg(n=(value, "size"), cost=(cost, "mean"), value=(value, "mean"))
    table = table.reset_index()
    gain = (1 if require_direction(metric) else -1) * table["value"].to_numpy(float)
    price = table["cost"].to_numpy(float)
    beaten = [
        bool(((price <= price[i]) & (gain >= gain[i]) & ((price < price[i]) | (gain > gain[i]))).any())
        for i in range(len(table))
    ]
    return table.assign(on_front=~np.array(beaten, dtype=bool))


@themed
def draw_cost(
    costs: pd.DataFrame,
    styles: Styles,
    *,
    metric: Metric,
    cost: Metric = TIME,
    width: float = PAGE * 0.75,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw ``cost_data`` with the front as a line; arms on it are named."""
    figure = new_figure(width, width * 0.55)
    ax = figure.subplots()
    front = costs[costs["on_front"]].sort_values("cost")
    ax.plot(front["cost"] * cost.scale, front["value"] * metric.scale, color=theme.muted, linewidth=0.8, zorder=1)
    for row in rows_of(costs):
        style = styles[row.arm]
        x, y = row.cost * cost.scale, row.value * metric.scale
        fill = style.color(theme) if row.on_front else theme.surface
        style.tag(
            ax.scatter(
                x, y, s=32, marker=style.marker, facecolor=fill, edgecolor=style.color(theme), linewidth=1.2, zorder=3
            )
        )
        if row.on_front:
            name = ax.annotate(
                shorten(row.arm, 26), (x, y), xytext=(5, -9), textcoords="offset points", fontsize=6.5, color=theme.ink
            )
            style.tag(name)
    ax.margins(x=0.12)
    ax.set(xlabel=cost.axis, ylabel=metric.axis)
    said = "; ".join(f"{row.arm} {metric.show(row.value)} for {cost.show(row.cost)}" for row in rows_of(front))
    return Picture(
        figure,
        f"{sentence_case(metric.label)} against {cost.label}",
        f"Mean {metric.label} and mean {cost.label} of each arm's completed trials (n = {span(costs['n'])}; no "
        "interval). Filled and joined: the Pareto front, arms that none beats in both.",
        f"Scatter of {len(costs)} arms. On the Pareto front: {said}.",
    )
