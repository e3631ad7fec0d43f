"""Which factor matters: a bar for each, with its interval where there is one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis._rows import rows_of
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, shorten, themed


@themed
def draw_importance(
    table: pd.DataFrame, *, measure: str, caption: str, width: float = PAGE * 0.75, theme: Theme = LIGHT
) -> Picture:
    """Draw name, importance (0 to 1) and, where the table has them, low and high; the largest first.

    ``measure`` is the axis label, such as "share of the variance"; ``caption`` says how and from what it was computed.
    """
    rows = table.sort_values("importance", ascending=False, ignore_index=True)
    has_interval = {"low", "high"} <= set(rows.columns)
    figure = new_figure(width, 0.6 + 0.26 * max(len(rows), 2))
    ax = figure.subplots()
    ax.barh(range(len(rows)), rows["importance"] * 100, height=0.6, color=theme.palette[0], linewidth=0)
    for place, row in enumerate(rows_of(rows)):
        end = row.importance * 100
        if has_interval and np.isfinite(row.low) and np.isfinite(row.high):
            ax.plot([row.low * 100, row.high * 100], [place, place], color=theme.ink, linewidth=1.1)
            end = max(end, row.high * 100)
        text = f"{row.importance * 100:.1f}"
        ax.annotate(text, (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=6.5)
    ax.set_yticks(range(len(rows)), [shorten(name, 30) for name in rows["name"]])
    ax.invert_yaxis()
    ax.margins(x=0.1)
    ax.grid(False, axis="y")
    ax.set_xlabel(f"{measure} (%)")
    said = "; ".join(f"{row.name} {row.importance:.0%}" for row in rows_of(rows.head(12)))
    return Picture(figure, "Which factor matters", caption, f"Bar chart of {measure}: {said}.")
