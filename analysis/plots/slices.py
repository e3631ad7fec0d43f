"""A search, one field at a time: the metric against each value tried."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.plots._axis import field_axis
from analysis.plots._words import sentence_case
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, themed
from search_spaces.metrics import Metric

MOST_POINTS = 2000


@themed
def draw_slices(search: pd.DataFrame, *, metric: Metric, width: float = PAGE, theme: Theme = LIGHT) -> Picture:
    """Draw `analysis.plots.parallel.search_data`, a panel for each field; at most 2,000 trials, evenly taken."""
    shown = search.iloc[:: -(-len(search) // MOST_POINTS) or 1]
    names = [name for name in search.columns if name not in ("value", "status")]
    columns = min(len(names), 4 if width > PAGE / 2 else 2) or 1
    rows = -(-len(names) // columns) or 1
    figure = new_figure(width, 1.75 * rows)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    done = (shown["status"] == "completed").to_numpy()
    values = shown["value"].to_numpy(float) * metric.scale
    many = len(shown) > 300
    for place, (ax, name) in enumerate(zip(axes, names, strict=False)):
        axis = field_axis(shown[name], name.rsplit(".", 1)[-1])
        x = axis.places + (_spread(len(values)) if axis.levels else 0)
        ax.scatter(
            x[~done], values[~done], s=6, facecolors="none", edgecolors=theme.muted, linewidth=0.5, rasterized=many
        )
        ax.scatter(x[done], values[done], s=8, color=theme.palette[0], linewidth=0, zorder=3, rasterized=many)
        axis.label(ax)
        ax.set_ylabel(metric.axis if place % columns == 0 else "")
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    some = f"n = {len(shown)} of {len(search)}, evenly taken" if len(shown) < len(search) else f"n = {len(search)}"
    return Picture(
        figure,
        "One field at a time",
        f"{sentence_case(metric.label)} of each trial ({some}; one run each) against each searched field. "
        "Filled: completed; open: stopped early. Trials differ in all fields, so a slope here is not an effect.",
        f"Scatter plots of {metric.label} against {', '.join(names)}.",
    )


def _spread(n: int) -> np.ndarray:
    """Return small sideways shifts, the same each time, so that points of one level do not hide each other."""
    return (np.arange(n) * 0.618034 % 1 - 0.5) * 0.5
