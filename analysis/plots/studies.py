"""Several studies side by side: each arm's mean with its interval, one row for each arm, one mark for each study."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analysis.plots._words import sentence_case, span
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, arm_styles, new_figure, shorten, themed
from analysis.stats.means import mean_data, seed_data
from analysis.store._rows import rows_of
from search_spaces.metrics import Metric

MOST_ROWS = 40


def studies_data(trials: Mapping[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    """Return study, arm, n, missing, mean, low, high (95 % t interval); ``trials`` maps study to trials."""
    parts = [mean_data(seed_data(table, metric)).assign(study=name) for name, table in trials.items()]
    columns = ["study", "arm", "n", "missing", "mean", "low", "high"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


@themed
def draw_studies(table: pd.DataFrame, *, metric: Metric, width: float = PAGE, theme: Theme = LIGHT) -> Picture:
    """Draw ``studies_data``: arms that several studies have first, at most 40 arms."""
    known = table[table["n"] > 0]
    shared = known.groupby("arm", sort=False)["study"].nunique().sort_values(ascending=False, kind="stable")
    places = {arm: place for place, arm in enumerate(shared.index[:MOST_ROWS])}
    styles = arm_styles(table["study"])
    figure = new_figure(width, 0.8 + 0.3 * max(len(places), 2) + 0.16 * -(-len(styles) // 3))
    ax = figure.subplots()
    for row in rows_of(known[known["arm"].isin(list(places))]):
        style = styles[row.study]
        y = places[row.arm] + (style.index - (len(styles) - 1) / 2) * min(0.18, 0.7 / len(styles))
        color = style.color(theme)
        if row.n > 1:
            ax.plot([row.low * metric.scale, row.high * metric.scale], [y, y], color=color, linewidth=1.3)
        ax.plot(row.mean * metric.scale, y, style.marker, color=color, markersize=4)
    for study, style in styles.items():
        ax.plot([], [], style.marker, color=style.color(theme), label=shorten(study, 40))
    ax.set_yticks(range(len(places)), [shorten(arm, 26) for arm in places])
    ax.set_ylim(len(places) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.set_xlabel(metric.axis)
    figure.legend(loc="outside lower center", ncols=3)
    some = f" {MOST_ROWS} of {len(shared)} arms are drawn." if len(shared) > MOST_ROWS else ""
    return Picture(
        figure,
        f"{sentence_case(metric.label)} by arm and study",
        f"Mean over the completed trials of an arm (n = {span(known['n'])}) with its 95 % t interval. "
        f"Intervals are of each mean alone: arms of different studies are not paired.{some}",
        f"Dot plot of {metric.label} for {len(places)} arms of {len(styles)} studies.",
    )
