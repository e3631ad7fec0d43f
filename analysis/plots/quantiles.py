"""How the spread of the features moves: the 1st, 20th, 80th and 99th percentile against epochs, arm by arm."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from analysis.plots._words import span
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, literal, new_figure, shared_panels, shorten, themed


def quantile_data(quantiles: pd.DataFrame, layer: str = "features") -> pd.DataFrame:
    """Return arm, epoch, percentile, value (mean over the arm's completed trials) and n for one layer."""
    done = quantiles[(quantiles["layer"] == layer) & (quantiles["status"] == "completed")].dropna(subset=["value"])
    table = done.groupby(["arm", "epoch", "percentile"], sort=False)["value"].agg(["mean", "count"]).reset_index()
    table = table.rename(columns={"mean": "value", "count": "n"})
    return table.sort_values(["arm", "percentile", "epoch"], ignore_index=True)


@themed
def draw_quantiles(
    table: pd.DataFrame, styles: Styles, *, layer: str = "features", width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw ``quantile_data``, one panel for each arm on a common scale."""
    arms = [arm for arm in styles if (table["arm"] == arm).any()]
    columns = max(1, min(len(arms), 4 if width > PAGE / 2 else 2))
    rows = max(1, -(-len(arms) // columns))
    figure = new_figure(width, 1.55 * rows + 0.25)
    for ax, arm in zip(shared_panels(figure, len(arms), columns), arms, strict=True):
        color = styles[arm].color(theme)
        wide = table[table["arm"] == arm].pivot(index="epoch", columns="percentile", values="value")
        levels = sorted(wide.columns)
        for outer in range(len(levels) // 2):
            low, high = wide[levels[outer]], wide[levels[-1 - outer]]
            styles[arm].tag(ax.fill_between(wide.index, low, high, color=color, alpha=0.14, linewidth=0))
        for place, level in enumerate(levels):
            edge = min(place, len(levels) - 1 - place)
            styles[arm].tag(ax.plot(wide.index, wide[level], color=color, linewidth=0.8 + 0.5 * edge)[0])
        ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        ax.set_title(shorten(arm, 20))
    figure.supxlabel("epoch", fontsize=7.5)
    figure.supylabel(f"value of {literal(layer)}", fontsize=7.5)
    ends = table[table["epoch"] == table["epoch"].max()] if len(table) else table
    spread = ends.groupby("arm", sort=False)["value"].agg(np.ptp)
    said = "; ".join(f"{arm} {value:.3g}" for arm, value in spread.head(12).items())
    return Picture(
        figure,
        f"Evolution of {layer} quantiles",
        f"Lines from below: percentiles 1, 20, 80 and 99 of the values of {layer} in each epoch, mean over the "
        f"completed trials of an arm (n = {span(table['n'])}; no interval). Darker: the middle 60 %.",
        f"Fan charts of four percentiles against epochs, one for each arm. Range from the lowest to the highest at the "
        f"last epoch: {said}.",
    )
