"""Parallel coordinates of a search: a line for each trial through its values, coloured by what it reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from analysis.plots._axis import FieldAxis, field_axis
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, shorten, themed
from analysis.store.load import FACTOR
from search_spaces.metrics import Metric

MOST_LINES = 500
_WORST = 0.02
"""Share of the worst trials that have the end of the last axis: one of them may be far away."""


def search_data(trials: pd.DataFrame, factors: Sequence[str], metric: str) -> pd.DataFrame:
    """Return one row for each trial with a value: its searched values by name, ``value`` and ``status``."""
    known = trials.dropna(subset=[metric])
    columns = {name: known[FACTOR + name] for name in factors}
    return pd.DataFrame(columns | {"value": known[metric], "status": known["status"]}).reset_index(drop=True)


@themed
def draw_parallel(search: pd.DataFrame, *, metric: Metric, width: float = PAGE, theme: Theme = LIGHT) -> Picture:
    """Draw ``search_data``: the best trials on top; at most the 500 best of them."""
    down = metric.higher_is_better is False
    shown = search.sort_values("value", ascending=down).head(MOST_LINES).iloc[::-1]
    names = [name for name in search.columns if name not in ("value", "status")]
    axes_of = [field_axis(shown[name], name) for name in names]
    values = shown["value"].to_numpy(float) * metric.scale
    kept = (0.0, 1 - _WORST) if down else (_WORST, 1.0)
    norm = Normalize(*np.quantile(values, kept) if len(values) else (0, 1))
    heights = np.column_stack([axis.unit_places for axis in axes_of] + [norm(values)])
    points = np.stack([np.broadcast_to(np.arange(heights.shape[1]), heights.shape), np.clip(heights, 0, 1)], axis=2)
    figure = new_figure(width, 2.8)
    ax = figure.subplots()
    lines = LineCollection(
        list(points), array=values, cmap="viridis_r" if down else "viridis", norm=norm, linewidth=0.9
    )
    lines.set_alpha(0.75 if len(shown) < 100 else 0.4)
    ax.add_collection(lines)
    for place, axis in enumerate(axes_of):
        ax.axvline(place, color=theme.muted, linewidth=0.7)
        _mark(ax, place, axis, theme)
    ax.axvline(len(axes_of), color=theme.muted, linewidth=0.7)
    ax.set_xticks(range(heights.shape[1]), [shorten(name.rsplit(".", 1)[-1], 18) for name in names] + [metric.label])
    ax.set(xlim=(-0.15, len(axes_of) + 0.05), ylim=(-0.06, 1.06), yticks=[])
    ax.grid(False)
    ax.tick_params(axis="x", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    figure.colorbar(ScalarMappable(norm, lines.cmap), ax=ax, label=metric.axis, pad=0.01).outline.set_visible(False)
    some = f"n = {len(shown)}, the best of {len(search)}" if len(shown) < len(search) else f"n = {len(search)}"
    return Picture(
        figure,
        "Values and result of each trial",
        f"One line for each trial ({some} trials, one run each), at its best epoch; axes run from the lowest to the "
        "highest value tried, logarithmic where the values span more than a factor of 30. The worst 2 % are at the end "
        "of the last axis.",
        f"Parallel coordinates of {', '.join(names)} and {metric.label}.",
    )


def _mark(ax: object, place: int, axis: FieldAxis, theme: Theme) -> None:
    """Write the levels of a categorical axis, or both ends of a numeric one."""
    marks = [(i / max(len(axis.levels) - 1, 1), level) for i, level in enumerate(axis.levels)]
    if len(marks) == 1:
        marks = [(0.5, axis.levels[0])]
    elif not marks:
        low, high = axis.ends()
        marks = [(0.0, low), (1.0, high)]
    box = {"facecolor": theme.surface, "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
    for height, text in marks:
        ax.annotate(  # type: ignore[attr-defined]
            shorten(text, 14),
            (place, height),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
            bbox=box,
        )
