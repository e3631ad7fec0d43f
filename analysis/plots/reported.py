"""Ours beside theirs: a value that others report, and our mean with its interval and n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.picture import Picture
from analysis.plots.seeds import mean_data, seed_data
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.plots.units import seed_count, unit_of
from analysis.store._rows import rows_of


def reported_data(trials: pd.DataFrame, figures: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return arm, metric, reported, n, mean, low, high (95 % t interval) and note for each reported figure.

    ``figures`` are those of the study's ``reference``; ours are NaN with n = 0 where the arm has no completed trial.
    """
    rows = []
    for figure in figures:
        metric = figure.get("metric", "test_accuracy")
        means = mean_data(seed_data(trials[trials["arm"] == figure["arm"]], metric))
        ours = means.iloc[0].to_dict() if len(means) else {"n": 0, "mean": np.nan, "low": np.nan, "high": np.nan}
        kept = {name: ours[name] for name in ("n", "mean", "low", "high")}
        note = figure.get("note", "")
        rows.append({"arm": figure["arm"], "metric": metric, "reported": figure["value"], **kept, "note": note})
    return pd.DataFrame(rows, columns=["arm", "metric", "reported", "n", "mean", "low", "high", "note"])


@themed
def draw_reported(
    table: pd.DataFrame, styles: Styles, *, metric: str = "test_accuracy", width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw the rows of ``reported_data`` of one metric: theirs as an open bar, ours filled with its interval."""
    unit = unit_of(metric)
    rows = table[table["metric"] == metric].reset_index(drop=True)
    figure = new_figure(width, 0.9 + 0.42 * len(rows))
    ax = figure.subplots()
    for place, row in enumerate(rows_of(rows)):
        color = styles[row.arm].color(theme) if row.arm in styles else theme.muted
        theirs, ours = row.reported * unit.scale, row.mean * unit.scale
        ax.barh(place - 0.2, theirs, height=0.34, facecolor="none", edgecolor=color, linewidth=0.9)
        _value(ax, theirs, place - 0.2, f"{theirs:.{unit.digits}f} reported", theme)
        if row.n:
            ax.barh(place + 0.2, ours, height=0.34, color=color, linewidth=0)
            ends = [ours] if row.n < 2 else [row.low * unit.scale, row.high * unit.scale]
            ax.plot(ends, [place + 0.2] * len(ends), color=theme.ink, linewidth=1.1, solid_capstyle="butt")
            _value(ax, max(ends), place + 0.2, f"{ours:.{unit.digits}f} ours, n = {row.n}", theme)
        else:
            _value(ax, 0, place + 0.2, "ours: no completed trial", theme)
    ax.set_yticks(range(len(rows)), [shorten(arm, 26) for arm in rows["arm"]])
    ax.set_ylim(len(rows) - 0.45, -0.55)
    ax.grid(False, axis="y")
    ax.margins(x=0.22)
    ax.set_xlim(left=0)
    ax.set_xlabel(unit.axis)
    said = "; ".join(
        f"{r.arm}: {unit.show(r.reported)} reported, {unit.show(r.mean) if r.n else 'none'} ours (n = {r.n})"
        for r in rows_of(rows)
    )
    return Picture(
        figure,
        f"Ours beside what was reported: {unit.name}",
        "Open bars: reported elsewhere, mostly a single run. Filled bars: our mean with its 95 % t interval "
        f"(n = {seed_count(rows['n'])}). Settings differ, so the order of the arms is what can be compared.",
        f"Bars. {said}.",
    )


def _value(ax: Any, x: float, y: float, text: str, theme: Theme) -> None:
    ax.annotate(text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=6.5, color=theme.muted)
