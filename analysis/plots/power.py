"""How many seeds detect which difference: the power of a paired t test against the number of seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.plots.picture import Picture
from analysis.plots.style import COLUMN, DASHES, LIGHT, Theme, new_figure, themed
from analysis.stats.power import achieved_power
from search_spaces.metrics import Metric


def power_data(
    sd: float, differences: Sequence[float], seeds: Sequence[int] = tuple(range(2, 31)), comparisons: int = 1
) -> pd.DataFrame:
    """Return difference, n and power for paired differences of standard deviation ``sd``, all in the metric's unit."""
    rows = [
        (difference, n, achieved_power(n, difference, sd, comparisons=comparisons))
        for difference in differences
        for n in seeds
    ]
    return pd.DataFrame(rows, columns=["difference", "n", "power"])


@themed
def draw_power(
    powers: pd.DataFrame,
    sd: float,
    *,
    comparisons: int = 1,
    metric: Metric,
    width: float = COLUMN * 1.3,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw ``power_data``, a line for each difference; the usual aim of 80 % is marked."""
    figure = new_figure(width, width * 0.72)
    ax = figure.subplots()
    ax.axhline(80, color=theme.muted, linewidth=0.7, linestyle="--")
    for place, (difference, line) in enumerate(powers.groupby("difference", sort=False)):
        name = metric.amount(float(str(difference)), ".2g")
        color = theme.palette[place % len(theme.palette)]
        ax.plot(line["n"], line["power"] * 100, color=color, linestyle=DASHES[place % len(DASHES)], label=name)
    ax.set(xlabel="seeds (pairs) n", ylabel="power (%)", ylim=(0, 102))
    figure.legend(loc="outside lower center", ncols=3, title="true difference", title_fontsize=7)
    family = f"5 % over {comparisons} comparisons (Bonferroni)" if comparisons > 1 else "5 %"
    return Picture(
        figure,
        "How many seeds it takes",
        f"Chance that a paired t test at {family} finds a true difference, if paired differences have a standard "
        f"deviation of {metric.amount(sd, '.2g')}. Dashed: 80 %.",
        f"Power against the number of seeds for {powers['difference'].nunique()} differences.",
    )
