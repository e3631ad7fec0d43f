"""The forest of effects: each arm's difference from the reference arm, with its interval and the ROPE."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.plots.units import span, unit_of
from analysis.store._rows import rows_of


@themed
def draw_effects(
    effects: pd.DataFrame,
    styles: Styles,
    *,
    metric: str = "test_accuracy",
    rope: float = 0.0,
    width: float = PAGE,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw the table of `stats.effects` as a forest plot; ``rope`` in the metric's own unit, shaded."""
    unit = unit_of(metric)
    rows = effects.reset_index(drop=True)
    figure = new_figure(width, 0.65 + 0.24 * max(len(rows), 2))
    ax = figure.subplots()
    if rope:
        ax.axvspan(-rope * unit.scale, rope * unit.scale, color=theme.wash, zorder=0)
    ax.axvline(0, color=theme.muted, linewidth=0.8, zorder=1)
    for place, row in enumerate(rows_of(rows)):
        style = styles[row.arm]
        color = style.color(theme)
        low, high = row.low * unit.scale, row.high * unit.scale
        if np.isfinite(low) and np.isfinite(high):
            style.tag(ax.plot([low, high], [place, place], color=color, linewidth=1.6, solid_capstyle="butt")[0])
        style.tag(ax.plot(row.difference * unit.scale, place, style.marker, color=color, markersize=5)[0])
    ax.set_yticks(range(len(rows)), [shorten(arm, 26 if width > PAGE / 2 else 18) for arm in rows["arm"]])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.set_xlabel(f"difference in {unit.name}" + (f" ({unit.difference})" if unit.difference else ""))
    _verdicts(ax, rows, theme)
    return Picture(figure, "Difference from the reference arm", _caption(rows, metric, rope), _alt(rows, metric))


def _verdicts(ax: Axes, rows: pd.DataFrame, theme: Theme) -> None:
    """Write each verdict and n on the right, clear of the intervals."""
    right = ax.secondary_yaxis("right")
    right.set_yticks(range(len(rows)), [f"{row.verdict}, n = {row.n}" for row in rows_of(rows)])
    right.tick_params(length=0, labelcolor=theme.muted)
    right.spines["right"].set_visible(False)


def _caption(rows: pd.DataFrame, metric: str, rope: float) -> str:
    unit = unit_of(metric)
    reference = rows["reference"].iloc[0] if len(rows) else "none"
    shaded = f" Shaded: too small to matter (within {rope * unit.scale:g} {unit.difference})." if rope else ""
    return (
        f"Mean difference in {unit.name} from “{reference}”, paired by seed (n = {span(rows['n'])} pairs), "
        f"with the 95 % t interval of each difference, not corrected for the number of arms.{shaded}"
    )


def _alt(rows: pd.DataFrame, metric: str) -> str:
    unit = unit_of(metric)
    said = [
        f"{row.arm} {row.difference * unit.scale:+.2f} "
        f"({row.low * unit.scale:+.2f} to {row.high * unit.scale:+.2f}), {row.verdict}"
        for row in rows_of(rows.head(12))
    ]
    more = f"; and {len(rows) - 12} more" if len(rows) > 12 else ""
    return f"Forest plot of differences in {unit.difference or unit.name}: {'; '.join(said)}{more}."
