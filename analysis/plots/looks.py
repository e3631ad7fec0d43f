"""The path of each arm of a sequential study against its boundary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots._words import sentence_case
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shared_panels, shorten, themed
from search_spaces.metrics import Metric

_COLUMNS = 3
_FARTHEST = 12.0
"""Largest |t| drawn; beyond it, points are at the edge."""


@themed
def draw_paths(
    paths: pd.DataFrame, styles: Styles, *, metric: Metric, width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw `analysis.stats.looks.path_data`: a panel for each arm, its t at each look and the boundary of that look."""
    arms = list(dict.fromkeys(paths["arm"]))
    columns = max(1, min(_COLUMNS if width > PAGE / 2 else 1, len(arms)))
    rows = max(1, -(-len(arms) // columns))
    figure = new_figure(width, 0.6 + 1.45 * rows)
    limit = _limit(paths)
    for ax, arm in zip(shared_panels(figure, len(arms), columns), arms, strict=True):
        path, style = paths[paths["arm"] == arm], styles[arm]
        edge = np.minimum(path["critical"], limit)
        ax.fill_between(path["seeds"], edge, limit, color=theme.wash, linewidth=0)
        ax.fill_between(path["seeds"], -limit, -edge, color=theme.wash, linewidth=0)
        for sign in (1, -1):
            ax.plot(path["seeds"], sign * edge, color=theme.muted, linewidth=0.9, linestyle="--", marker="_")
        shown = path["t"].clip(-limit, limit)
        look: dict[str, Any] = {"marker": style.marker, "markersize": 3.5, "color": style.color(theme)}
        line = ax.plot(path["seeds"], shown, clip_on=False, zorder=3, **look)[0]
        style.tag(line)
        ax.axhline(0, color=theme.grid, linewidth=0.8, zorder=0)
        ax.set_title(f"{shorten(arm, 20)}: {path['state'].iloc[-1]}", fontsize=7)
        ax.set_ylim(-limit, limit)
    figure.supxlabel("seeds", fontsize=7.5)
    figure.supylabel("t, positive: better", fontsize=7.5)
    return Picture(figure, "Looks at the results", _caption(paths, metric), _alt(paths))


def _limit(paths: pd.DataFrame) -> float:
    """Return the end of the axis: all boundaries and points, up to a largest |t|."""
    values = np.concatenate([paths["t"].abs(), paths["critical"]])
    finite = values[np.isfinite(values)]
    return float(min(_FARTHEST, 1.1 * finite.max())) if len(finite) else _FARTHEST


def _caption(paths: pd.DataFrame, metric: Metric) -> str:
    beyond = bool((paths["t"].abs() > _limit(paths)).any())
    cut = " Values beyond the axis are drawn at its edge." if beyond else ""
    return (
        f"{sentence_case(metric.label)}: t of the paired differences from the reference arm at each look "
        f"(n = {paths['seeds'].min()} to {paths['seeds'].max()} pairs; no interval). An arm that reaches the shaded "
        f"area is better or worse. It may also stop inside, as equivalent or because a decision became unlikely.{cut}"
        if len(paths)
        else "No look has been made yet (n = 0, no interval)."
    )


def _alt(paths: pd.DataFrame) -> str:
    last = paths.groupby("arm", sort=False).last() if len(paths) else paths
    said = [f"{arm} {row.state} at {row.seeds} seeds" for arm, row in last.head(12).iterrows()]
    return f"Path of the t statistic of each arm over the looks, with its boundary. {'; '.join(said)}."
