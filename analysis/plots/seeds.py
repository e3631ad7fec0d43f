"""Every seed of every arm: points, the mean with its interval, and a line through the arms for each seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.plots.units import seed_count, unit_of
from analysis.store._rows import rows_of


def seed_data(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return arm, seed and value for every trial; NaN for one not completed: its figure is of a shorter training."""
    value = trials[metric].where(trials["status"] == "completed").astype(float)
    return trials[["arm", "seed"]].assign(value=value).reset_index(drop=True)


def mean_data(seeds: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Return arm, n, missing, mean, low, high for each arm of ``seed_data``: the t interval of the mean."""
    rows = []
    for arm, group in seeds.groupby("arm", sort=False):
        values = group["value"].dropna().to_numpy(float)
        n = len(values)
        mean = values.mean() if n else np.nan
        half = stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        rows.append((arm, n, len(group) - n, mean, mean - half, mean + half))
    return pd.DataFrame(rows, columns=["arm", "n", "missing", "mean", "low", "high"])


@themed
def draw_seeds(
    seeds: pd.DataFrame, styles: Styles, *, metric: str = "test_accuracy", width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw ``seed_data`` as a strip for each arm; thin lines join the trials of one seed."""
    unit, means = unit_of(metric), mean_data(seeds)
    rows = {arm: place for place, arm in enumerate(means["arm"])}
    figure = new_figure(width, 0.65 + 0.27 * max(len(rows), 2))
    ax = figure.subplots()
    for _, pair in seeds.groupby("seed"):
        values = pair.drop_duplicates("arm").set_index("arm")["value"].reindex(list(rows)) * unit.scale
        ax.plot(values, range(len(rows)), color=theme.muted, linewidth=0.5, alpha=0.45, zorder=1)
    for row in rows_of(means):
        style, place = styles[row.arm], rows[row.arm]
        values = seeds.loc[seeds["arm"] == row.arm, "value"].dropna() * unit.scale
        points = ax.scatter(
            values, [place] * len(values), s=14, marker=style.marker, color=style.color(theme), zorder=3
        )
        style.tag(points).set(alpha=0.75, linewidth=0)
        if row.n > 1:
            span = [row.low * unit.scale, row.high * unit.scale]
            style.tag(ax.plot(span, [place + 0.26] * 2, color=style.color(theme), linewidth=1.4)[0])
            style.tag(ax.plot(row.mean * unit.scale, place + 0.26, "|", color=style.color(theme), markersize=6)[0])
    short = 26 if width > PAGE / 2 else 18
    lost = [f" ({gone} missing)" if gone else "" for gone in means["missing"]]
    names = [shorten(arm, short) + words for arm, words in zip(rows, lost, strict=True)]
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(False, axis="y")
    ax.set_xlabel(unit.axis)
    return Picture(figure, "Every seed of every arm", _caption(means, metric), _alt(means, metric))


def _caption(means: pd.DataFrame, metric: str) -> str:
    gone = int(means["missing"].sum())
    lost = f" {gone} trials have no value and are not drawn." if gone else ""
    return (
        f"{unit_of(metric).name.capitalize()} of each trial (n = {seed_count(means['n'])} per arm). Bars "
        f"below the points: mean and 95 % t interval. Thin lines join trials of the same seed.{lost}"
    )


def _alt(means: pd.DataFrame, metric: str) -> str:
    unit = unit_of(metric)
    said = [f"{row.arm} {unit.show(row.mean)} (n = {row.n})" for row in rows_of(means.head(12))]
    return f"Strip plot of {unit.name} by arm. Means: {'; '.join(said)}."
