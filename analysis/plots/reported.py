"""Published and measured values: the published number, and our mean with its interval and n."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.plots._words import span
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.store._rows import rows_of
from search_spaces.metrics import Metric


@themed
def draw_reported(
    table: pd.DataFrame, styles: Styles, *, metric: Metric, width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw the rows of `analysis.stats.means.reported_data` of one metric: open bars theirs, filled bars ours."""
    rows = table[table["metric"] == metric.name].reset_index(drop=True)
    figure = new_figure(width, 0.9 + 0.42 * len(rows))
    ax = figure.subplots()
    for place, row in enumerate(rows_of(rows)):
        color = styles[row.arm].color(theme) if row.arm in styles else theme.muted
        theirs, ours = row.reported * metric.scale, row.mean * metric.scale
        ax.barh(place - 0.2, theirs, height=0.34, facecolor="none", edgecolor=color, linewidth=0.9)
        _value(ax, max(theirs, 0), place - 0.2, f"{theirs:.{metric.digits}f} reported", theme)
        if row.n:
            ax.barh(place + 0.2, ours, height=0.34, color=color, linewidth=0)
            ends = [ours] if row.n < 2 else [row.low * metric.scale, row.high * metric.scale]
            ax.plot(ends, [place + 0.2] * len(ends), color=theme.ink, linewidth=1.1, solid_capstyle="butt")
            _value(ax, max(*ends, 0), place + 0.2, f"{ours:.{metric.digits}f} ours, n = {row.n}", theme)
        else:
            _value(ax, 0, place + 0.2, "ours: no completed trial", theme)
    ax.set_yticks(range(len(rows)), [shorten(arm, 26) for arm in rows["arm"]])
    ax.set_ylim(len(rows) - 0.45, -0.55)
    ax.grid(False, axis="y")
    ax.margins(x=0.22)
    if ax.dataLim.x0 >= 0:
        ax.set_xlim(left=0)
    ax.set_xlabel(metric.axis)
    said = "; ".join(
        f"{r.arm}: {metric.show(r.reported)} reported, {metric.show(r.mean) if r.n else 'none'} ours (n = {r.n})"
        for r in rows_of(rows)
    )
    return Picture(
        figure,
        f"Published and measured {metric.label}",
        "Open bars: published, mostly from a single run. Filled bars: our mean with its 95 % t interval "
        f"(n = {span(rows['n'])}). Settings differ, so the order of the arms is what can be compared.",
        f"Bars. {said}.",
    )


def _value(ax: Any, x: float, y: float, text: str, theme: Theme) -> None:
    ax.annotate(text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=6.5, color=theme.muted)
