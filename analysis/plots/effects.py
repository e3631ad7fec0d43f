"""The forest of effects: each arm's difference from the reference arm, with its interval and the ROPE."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.plots._words import EQUIVALENT_NOTE, shown_interval, span
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.store._rows import rows_of
from search_spaces.metrics import Metric


@themed
def draw_effects(
    effects: pd.DataFrame,
    styles: Styles,
    *,
    metric: Metric,
    rope: float = 0.0,
    replicate: str = "seed",
    width: float = PAGE,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw the table of `stats.effects` as a forest plot; ``rope`` in the metric's own unit, shaded.

    ``replicate``: what the caption calls a seed, such as the repeat of a tuned ablation.
    """
    rows = effects.reset_index(drop=True)
    figure = new_figure(width, 0.65 + 0.24 * max(len(rows), 2))
    ax = figure.subplots()
    if rope:
        ax.axvspan(-rope * metric.scale, rope * metric.scale, color=theme.wash, zorder=0)
    ax.axvline(0, color=theme.muted, linewidth=0.8, zorder=1)
    for place, row in enumerate(rows_of(rows)):
        style = styles[row.arm]
        color = style.color(theme)
        for (low, high), thickness in ((shown_interval(row), 1.9), ((row.max_t_low, row.max_t_high), 0.7)):
            if np.isfinite(low) and np.isfinite(high):
                ends = [low * metric.scale, high * metric.scale]
                line = ax.plot(ends, [place, place], color=color, linewidth=thickness, solid_capstyle="butt")[0]
                style.tag(line)
        style.tag(ax.plot(row.difference * metric.scale, place, style.marker, color=color, markersize=5)[0])
    ax.set_yticks(range(len(rows)), [shorten(arm, 26 if width > PAGE / 2 else 18) for arm in rows["arm"]])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.set_xlabel(f"difference in {metric.label}" + (f" ({metric.difference})" if metric.difference else ""))
    _verdicts(ax, rows, theme)
    caption = _caption(rows, metric, rope, replicate)
    return Picture(figure, "Difference from the reference arm", caption, _alt(rows, metric))


def _verdicts(ax: Axes, rows: pd.DataFrame, theme: Theme) -> None:
    """Write each verdict and n on the right, clear of the intervals."""
    right = ax.secondary_yaxis("right")
    right.set_yticks(range(len(rows)), [f"{row.verdict}, n = {row.n}" for row in rows_of(rows)])
    right.tick_params(length=0, labelcolor=theme.muted)
    right.spines["right"].set_visible(False)


def _caption(rows: pd.DataFrame, metric: Metric, rope: float, replicate: str) -> str:
    reference = rows["reference"].iloc[0] if len(rows) else "none"
    kind = "the 95 % t interval of each difference, not corrected for the number of arms"
    if (rows["verdict"] == "equivalent").any():
        kind += f" ({EQUIVALENT_NOTE})"
    if np.isfinite(rows["max_t_low"]).any():
        kind += "; thin lines: simultaneous 95 % intervals (max-t), which hold for all arms at once"
    shaded = f" Shaded: too small to matter (within {metric.amount(rope)})." if rope else ""
    return (
        f"Mean difference in {metric.label} from “{reference}”, paired by {replicate} (n = {span(rows['n'])} pairs), "
        f"with {kind}.{shaded}"
    )


def _alt(rows: pd.DataFrame, metric: Metric) -> str:
    said = []
    for row in rows_of(rows[np.isfinite(rows["difference"])].head(12)):
        low, high = (end * metric.scale for end in shown_interval(row))
        interval = f" ({low:+.2f} to {high:+.2f})" if np.isfinite(low) else ""
        said.append(f"{row.arm} {row.difference * metric.scale:+.2f}{interval}, {row.verdict}")
    more = f"; and {len(rows) - 12} more" if len(rows) > 12 else ""
    return f"Forest plot of differences in {metric.difference or metric.label}: {'; '.join(said) or 'none'}{more}."
