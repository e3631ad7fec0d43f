"""Where and when each trial ran: a bar for each, by node, as high as the share of a GPU (or the CPUs) it was given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, shorten, themed
from analysis.store._rows import rows_of

MOST_NODES = 16
MOST_SHARE = 1e6
"""A trial that a store says was given more is drawn with so much: an axis cannot reach 1e308."""


def timeline_data(trials: pd.DataFrame) -> pd.DataFrame:
    """Return node, start and end (hours since the first start), share, base and status for each trial.

    ``share`` is the GPUs given, or the CPUs where the trial had no GPU; ``base`` stacks the trials that overlap on
    a node, each at the lowest height free at its start.
    """
    known = trials.dropna(subset=["started_at", "finished_at"])
    share = np.where(known["gpus"].fillna(0) > 0, known["gpus"], known["cpus"].fillna(1.0))
    first = known["started_at"].min()
    table = pd.DataFrame(
        {
            "node": known["node"].fillna("unknown"),
            "start": (known["started_at"] - first).dt.total_seconds() / 3600,
            "end": (known["finished_at"] - first).dt.total_seconds() / 3600,
            "share": np.clip(share, 0.0, MOST_SHARE),
            "on_gpu": known["gpus"].fillna(0) > 0,
            "status": known["status"],
        }
    ).sort_values(["node", "start"], ignore_index=True)
    bases = [_stack(group) for _, group in table.groupby("node", sort=False)]
    return table.assign(base=np.concatenate(bases) if bases else np.zeros(0))


def _stack(trials: pd.DataFrame) -> np.ndarray:
    """Return the height each trial starts at, so that no two that overlap in time overlap in height."""
    bases: list[float] = []
    running: list[tuple[float, float, float]] = []
    for row in rows_of(trials):
        running = sorted((base, top, end) for base, top, end in running if end > row.start + 1e-9)
        height = 0.0
        for base, top, _ in running:
            if base >= height + row.share - 1e-9:
                break
            height = max(height, top)
        running.append((height, height + row.share, row.end))
        bases.append(height)
    return np.array(bases)


@themed
def draw_timeline(timeline: pd.DataFrame, *, width: float = PAGE, theme: Theme = LIGHT) -> Picture:
    """Draw ``timeline_data``, a band for each node (the 16 busiest)."""
    busiest = timeline.groupby("node", sort=False)["share"].count().sort_values(ascending=False, kind="stable")
    nodes = sorted(busiest.index[:MOST_NODES], key=str)
    figure = new_figure(width, 0.7 + 0.62 * max(len(nodes), 1))
    axes = figure.subplots(max(len(nodes), 1), 1, sharex=True, squeeze=False).ravel()
    colors = {"completed": theme.palette[0], "pruned": theme.palette[1], "diverged": theme.palette[6]}
    colors["failed"] = theme.palette[3]
    present: dict[str, Patch] = {}
    for ax, node in zip(axes, nodes, strict=False):
        mine = timeline[timeline["node"] == node]
        for status, color in colors.items():
            bars = mine[mine["status"] == status]
            line = 0.4 if len(mine) < 400 else 0
            look: dict[str, Any] = {"facecolors": color, "edgecolors": theme.surface, "linewidths": line}
            ax.add_collection(PolyCollection(list(_corners(bars)), rasterized=len(mine) > 1000, **look))
            if len(bars):
                present[status] = Patch(facecolor=color, label=status)
        ax.set_ylabel("GPUs" if mine["on_gpu"].any() else "CPUs")
        ax.set_title(shorten(node, 40), fontsize=7)
        ax.set_ylim(0, max(1.0, float((mine["base"] + mine["share"]).max())) * 1.02)
    scale = _time_axis(axes[-1], timeline)
    figure.legend(handles=list(present.values()), loc="outside lower center", ncols=4)
    some = f"the {len(nodes)} busiest of {len(busiest)} nodes" if len(busiest) > len(nodes) else f"{len(nodes)} nodes"
    return Picture(
        figure,
        "When and where each trial ran",
        f"One bar for each trial (n = {len(timeline)}, {some}) from its first start to its end, waiting "
        "between attempts included; its height is the share of a GPU, or the CPUs, that it was given.",
        f"Timeline over {scale} of {len(timeline)} trials on {', '.join(map(str, nodes))}.",
    )


def _corners(bars: pd.DataFrame) -> np.ndarray:
    """Return the corners of each bar, shape (trials, 4, 2)."""
    left, right = bars["start"], bars["end"]
    low, high = bars["base"], bars["base"] + bars["share"]
    corners = [(left, low), (right, low), (right, high), (left, high)]
    return np.stack([np.column_stack(corner) for corner in corners], axis=1).astype(float)


def _time_axis(ax: Any, timeline: pd.DataFrame) -> str:
    hours = float(timeline["end"].max()) if len(timeline) else 0.0
    unit, per_hour = ("hours", 1) if hours >= 2 else ("minutes", 60) if hours >= 2 / 60 else ("seconds", 3600)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value * per_hour:g}")
    step = _round_step(hours * per_hour / 6) / per_hour
    ax.set_xticks(np.arange(0, hours + step / 2, step))
    ax.set_xlim(-0.01 * hours, max(1.01 * hours, 1e-6))
    ax.set_xlabel(f"{unit} since the first start")
    return f"{hours * per_hour:.1f} {unit}"


def _round_step(raw: float) -> float:
    if raw <= 0:
        return 1.0
    power = 10 ** np.floor(np.log10(raw))
    return float(power * min((1, 2, 5, 10), key=lambda digit: abs(digit - raw / power)))
