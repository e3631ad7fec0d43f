"""Two factors as a heat map: the mean of every pair of levels, written into its cell with n."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from analysis.plots.interaction import level_ticks, levels_in_order, pair_sizes
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, shorten, themed
from analysis.store._rows import rows_of
from search_spaces.metrics import Metric


@themed
def draw_heat_map(
    pairs: pd.DataFrame,
    first: str,
    second: str,
    *,
    metric: Metric,
    width: float = PAGE * 0.7,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw `analysis.plots.interaction.two_factor_data`: the first factor down, the second across."""
    rows, columns = levels_in_order(pairs["first"]), levels_in_order(pairs["second"])
    values, counts = np.full((len(rows), len(columns)), np.nan), np.zeros((len(rows), len(columns)), int)
    for row in rows_of(pairs):
        at = rows.index(row.first), columns.index(row.second)
        values[at], counts[at] = row.mean * metric.scale, row.n
    figure = new_figure(width, 0.9 + 0.36 * len(rows))
    ax = figure.subplots()
    mesh = ax.pcolormesh(np.ma.masked_invalid(values), cmap="cividis", edgecolors=theme.surface, linewidth=1.5)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = contrasting(mesh.cmap(mesh.norm(value)))
            ax.text(j + 0.5, i + 0.4, f"{value:.{metric.digits}f}", ha="center", va="center", color=ink)
            ax.text(j + 0.5, i + 0.74, f"n = {counts[i, j]}", ha="center", va="center", color=ink, fontsize=5.5)
        else:
            ax.text(j + 0.5, i + 0.5, "–", ha="center", va="center", color=theme.muted)
    level_ticks(ax, np.arange(len(columns)) + 0.5, [shorten(level, 14) for level in columns])
    ax.set_yticks(np.arange(len(rows)) + 0.5, [shorten(level, 20) for level in rows])
    ax.set(xlabel=shorten(second, 40), ylabel=shorten(first, 24))
    ax.invert_yaxis()
    bare(ax)
    figure.colorbar(mesh, ax=ax, label=metric.axis, pad=0.02).outline.set_visible(False)
    said = "; ".join(f"{row.first} with {row.second} {metric.show(row.mean)}" for row in rows_of(pairs.head(16)))
    caption = f"Mean {metric.label} of each pair of levels, {pair_sizes(pairs)} (no interval); – where there is none."
    return Picture(figure, f"{first} by {second}", caption, f"Heat map of {first} against {second}: {said}.")


def contrasting(rgba: Any) -> str:
    """Return black or white, whichever can be read on the colour (WCAG's relative luminance)."""
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in mpl.colors.to_rgb(rgba[:3]))
    return "#000000" if 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 else "#ffffff"


def bare(ax: mpl.axes.Axes) -> None:
    """Leave an axes of coloured cells without grid, ticks and frame."""
    ax.grid(False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
