"""Two factors at once: the mean of every pair of levels, drawn as lines that are parallel where nothing interacts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.plots._words import span
from analysis.plots.picture import Picture
from analysis.plots.style import DASHES, LIGHT, MARKERS, PAGE, Theme, new_figure, shorten, themed
from analysis.stats.distributions import t_isf
from analysis.store._rows import rows_of
from analysis.store.load import FACTOR
from search_spaces.metrics import Metric


def two_factor_data(
    trials: pd.DataFrame, first: str, second: str, metric: str, confidence: float = 0.95
) -> pd.DataFrame:
    """Return first, second, n, mean, low, high (t interval of the mean) for every pair of levels that has a value.

    ``first`` and ``second`` are factors' names, or columns of the trials table. Levels of other factors are
    averaged over.
    """
    columns = [name if name in trials.columns else FACTOR + name for name in (first, second)]
    known = trials[[*columns, metric]].dropna()
    known.columns = pd.Index(["first", "second", "value"])
    table = known.groupby(["first", "second"], sort=False)["value"].agg(["count", "mean", "std"]).reset_index()
    t = t_isf((1 - confidence) / 2, np.maximum(table["count"] - 1, 1))
    half = (t * table["std"] / np.sqrt(table["count"])).where(table["count"] > 1)
    table["low"], table["high"] = table["mean"] - half, table["mean"] + half
    return table.rename(columns={"count": "n"})[["first", "second", "n", "mean", "low", "high"]]


def levels_in_order(values: pd.Series) -> list[object]:
    """Return the distinct levels: rising where all are numbers, else as they come."""
    distinct = list(dict.fromkeys(values))
    numbers = pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce")
    return [distinct[i] for i in np.argsort(numbers, kind="stable")] if numbers.notna().all() else distinct


@themed
def draw_interaction(
    pairs: pd.DataFrame,
    first: str,
    second: str,
    *,
    metric: Metric,
    width: float = PAGE / 2,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw ``two_factor_data``: the first factor's levels along the axis, a line for each level of the second."""
    places = {level: place for place, level in enumerate(levels_in_order(pairs["first"]))}
    lines = levels_in_order(pairs["second"])
    figure = new_figure(width, width * 0.72 + 0.16 * -(-len(lines) // 3))
    ax = figure.subplots()
    for index, level in enumerate(lines):
        turn, hue = divmod(index, len(theme.palette))
        line = (
            pairs[pairs["second"] == level].assign(place=lambda table: table["first"].map(places)).sort_values("place")
        )
        x = line["place"] + (index - (len(lines) - 1) / 2) * 0.06
        half = ((line["high"] - line["low"]) / 2).fillna(0) * metric.scale
        look = {"color": theme.palette[hue], "linestyle": DASHES[turn % len(DASHES)], "marker": MARKERS[hue]}
        ax.errorbar(x, line["mean"] * metric.scale, yerr=half, elinewidth=0.9, capsize=0, label=shorten(level), **look)
    level_ticks(ax, range(len(places)), [shorten(level, 16) for level in places])
    ax.set_xlim(-0.4, len(places) - 0.6)
    ax.set_xlabel(shorten(first, 40))
    ax.set_ylabel(metric.axis)
    figure.legend(loc="outside lower center", ncols=min(3, len(lines)), title=shorten(second, 40), title_fontsize=7)
    said = "; ".join(f"{row.first} with {row.second} {metric.show(row.mean)}" for row in rows_of(pairs.head(12)))
    return Picture(
        figure,
        f"{first} and {second} together",
        f"Mean {metric.label} of each pair of levels ({pair_sizes(pairs)}) with its 95 % t interval. "
        "Parallel lines mean that the two do not interact.",
        f"Interaction plot of {first} and {second}: {said}.",
    )


def level_ticks(ax: Axes, at: Sequence[float] | np.ndarray, names: Sequence[str]) -> None:
    """Write levels along the axis, at an angle where there are so many that they could overlap."""
    turned = len(names) >= 4
    ax.set_xticks(at, names, rotation=45 if turned else 0, ha="right" if turned else "center")


def pair_sizes(pairs: pd.DataFrame) -> str:
    """Return how many trials are behind each pair, in words."""
    return f"n = {span(pairs['n'])} trials each"
