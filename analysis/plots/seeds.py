"""Every seed of every arm: points, the mean with its interval, and a line through the arms for each seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from analysis.plots._words import replicate_count, sentence_case
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.stats.means import mean_data
from analysis.store._rows import rows_of
from search_spaces.metrics import Metric


@themed
def draw_seeds(
    seeds: pd.DataFrame,
    styles: Styles,
    *,
    metric: Metric,
    replicate: str = "seed",
    width: float = PAGE,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw `analysis.stats.means.seed_data` as a strip for each arm; thin lines join the trials of one seed.

    ``replicate``: what the caption calls a seed, such as the repeat of a tuned ablation.
    """
    means = mean_data(seeds)
    rows = {arm: place for place, arm in enumerate(means["arm"])}
    figure = new_figure(width, 0.65 + 0.27 * max(len(rows), 2))
    ax = figure.subplots()
    by_seed = seeds.drop_duplicates(["seed", "arm"]).pivot(index="seed", columns="arm", values="value")
    lines = [np.column_stack([x, range(len(rows))]) for x in by_seed[list(rows)].to_numpy() * metric.scale]
    ax.add_collection(LineCollection(lines, colors=theme.muted, linewidths=0.5, alpha=0.45, zorder=1))
    for row in rows_of(means):
        style, place = styles[row.arm], rows[row.arm]
        values = seeds.loc[seeds["arm"] == row.arm, "value"].dropna() * metric.scale
        points = ax.scatter(
            values, [place] * len(values), s=14, marker=style.marker, color=style.color(theme), zorder=3
        )
        style.tag(points).set(alpha=0.75, linewidth=0)
        if row.n > 1:
            span = [row.low * metric.scale, row.high * metric.scale]
            style.tag(ax.plot(span, [place + 0.26] * 2, color=style.color(theme), linewidth=1.4)[0])
            style.tag(ax.plot(row.mean * metric.scale, place + 0.26, "|", color=style.color(theme), markersize=6)[0])
    short = 26 if width > PAGE / 2 else 18
    lost = [f" ({gone} missing)" if gone else "" for gone in means["missing"]]
    names = [shorten(arm, short) + words for arm, words in zip(rows, lost, strict=True)]
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(False, axis="y")
    ax.set_xlabel(metric.axis)
    return Picture(figure, f"Every {replicate} of every arm", _caption(means, metric, replicate), _alt(means, metric))


def _caption(means: pd.DataFrame, metric: Metric, replicate: str) -> str:
    gone = int(means["missing"].sum())
    lost = f" {gone} trials have no value and are not drawn." if gone else ""
    return (
        f"{sentence_case(metric.label)} of each trial (n = {replicate_count(means['n'], replicate)} per arm). Bars "
        f"below the points: mean and 95 % t interval. Thin lines join trials of the same {replicate}.{lost}"
    )


def _alt(means: pd.DataFrame, metric: Metric) -> str:
    said = [f"{row.arm} {metric.show(row.mean)} (n = {row.n})" for row in rows_of(means.head(12))]
    return f"Strip plot of {metric.label} by arm. Means: {'; '.join(said)}."
