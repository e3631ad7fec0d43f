"""Two searched fields at once: every trial as a point, on a smooth map of what its neighbours reached."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize

from analysis.plots._axis import FieldAxis, field_axis
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, themed
from search_spaces.metrics import Metric

_GRID = 40


def contour_data(first: FieldAxis, second: FieldAxis, values: np.ndarray) -> np.ndarray:
    """Return a (40, 40) map over both axes scaled to 0 to 1, rows by ``second``: a Gaussian-weighted mean.

    The kernel's width is 0.12 of an axis; NaN where no trial is within three widths.
    """
    at = np.linspace(0, 1, _GRID)
    x, y = first.unit_places, second.unit_places
    squared = (at[None, :, None] - x) ** 2 + (at[:, None, None] - y) ** 2
    weight = np.exp(-squared / (2 * 0.12**2))
    smooth = (weight @ values) / weight.sum(axis=2).clip(min=1e-300)
    return np.where(squared.min(axis=2) <= (3 * 0.12) ** 2, smooth, np.nan)


@themed
def draw_contour(
    search: pd.DataFrame,
    first: str,
    second: str,
    *,
    metric: Metric,
    width: float = PAGE * 0.65,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw two fields of `analysis.plots.parallel.search_data`; the map from at most 2,000 trials, evenly taken."""
    shown = search.iloc[:: -(-len(search) // 2000) or 1]
    axes = [field_axis(shown[name], name) for name in (first, second)]
    values = shown["value"].to_numpy(float) * metric.scale
    figure = new_figure(width, width * 0.75)
    ax = figure.subplots()
    cmap = "viridis_r" if metric.higher_is_better is False else "viridis"
    field = contour_data(axes[0], axes[1], values)
    levels = np.linspace(values.min(), max(values.max(), values.min() + 1e-9), 15)
    norm = Normalize(levels[0], levels[-1])
    filled = ax.contourf(_edges(axes[0]), _edges(axes[1]), field, levels=levels, norm=norm, cmap=cmap, alpha=0.85)
    points: dict[str, Any] = {
        "c": values,
        "cmap": mpl.colormaps[cmap],
        "norm": norm,
        "edgecolors": theme.surface,
    }
    ax.scatter(axes[0].places, axes[1].places, s=16, linewidth=0.5, **points)
    axes[0].label(ax, "x")
    axes[1].label(ax, "y")
    ax.grid(False)
    figure.colorbar(filled, ax=ax, label=metric.axis, pad=0.02).outline.set_visible(False)
    return Picture(
        figure,
        f"{first} against {second}",
        f"Points: trials (n = {len(shown)} of {len(search)}, one run each). Surface: their {metric.label}, smoothed by "
        "a Gaussian kernel over both axes; it is empty where there are no points, and averages over other fields.",
        f"Contour map of {metric.label} over {first} and {second}.",
    )


def _edges(axis: FieldAxis) -> np.ndarray:
    low, high = np.nanmin(axis.places), np.nanmax(axis.places)
    return np.geomspace(low, high, _GRID) if axis.is_log else np.linspace(low, high if high > low else low + 1, _GRID)
