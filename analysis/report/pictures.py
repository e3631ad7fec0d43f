"""Which plots a report shows: those that its data can fill, and no more than can be read."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.plots.confusion import confusion_data, draw_confusion
from analysis.plots.cost import cost_data, draw_cost
from analysis.plots.curves import curve_data, curve_metrics, draw_arms, draw_overlay
from analysis.plots.effects import draw_effects
from analysis.plots.heatmap import draw_heat_map
from analysis.plots.interaction import draw_interaction, two_factor_data
from analysis.plots.landscape import draw_landscape_contour, draw_landscape_surface, draw_landscapes
from analysis.plots.picture import Picture
from analysis.plots.power import draw_power, power_data
from analysis.plots.quantiles import draw_quantiles, quantile_data
from analysis.plots.ranking import draw_ranking
from analysis.plots.reported import draw_reported
from analysis.plots.seeds import draw_seeds
from analysis.plots.style import Styles
from analysis.plots.timeline import draw_timeline, timeline_data
from analysis.report.facts import by_rank
from analysis.report.page import Hover, shown
from analysis.stats.claims import stated_figures
from analysis.stats.flatness import surface_data
from analysis.stats.means import reported_data, seed_data
from analysis.stats.ranking import ranking
from analysis.store.load import FACTOR, StudyResults
from search_spaces.errors import StudyError
from search_spaces.metrics import Metric

MOST_ARMS = 12
"""Arms drawn into one picture of curves."""
MOST_ROWS = 60
"""Arms drawn one below the other, a quarter of an inch each."""
MOST_PAIRS = 3
"""Pairs of factors drawn together."""
MOST_SURFACES = 8
MOST_RANKED = 20


@dataclass
class Gallery:
    """The plots of a page, ready for the template, and sentences about what was left out."""

    prefix: str = "picture"
    figures: list[dict[str, Any]] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)

    def add(self, *pictures: Picture, hover: Hover | None = None) -> None:
        """Append pictures under the next ids."""
        for picture in pictures:
            self.figures.append(shown(picture, f"{self.prefix}-{len(self.figures) + 1}", hover))


def ablation_gallery(results: StudyResults, table: pd.DataFrame, styles: Styles, rope: float) -> Gallery:
    """Return the pictures of an ablation; ``table`` is that of `analysis.stats.effects.effects`."""
    gallery, metric = Gallery(), results.metric_record()
    rows = table
    if len(table) > MOST_ROWS:
        rows = table.loc[table["difference"].abs().nlargest(MOST_ROWS).index.sort_values()]
    if len(rows):
        gallery.add(draw_effects(rows, styles, metric=metric, rope=rope, replicate=results.replicate))
    trials = results.trials
    if len(rows) < len(table):
        trials = trials[trials["arm"].isin([results.reference_arm, *rows["arm"]])]
        gallery.limits.append(
            f"Differences and seeds are drawn for {len(rows)} of {len(table)} arms, those that differ most from the "
            "reference arm. The tables have all of them."
        )
    seeds = seed_data(trials, metric.name)
    if seeds["value"].notna().any():
        gallery.add(draw_seeds(seeds, styles, metric=metric, replicate=results.replicate))
    _add_power(gallery, table, metric, rope)
    _add_factor_pairs(gallery, results)
    drawn = _drawn_arms(results, styles)
    if len(drawn) < len(styles):
        gallery.limits.append(
            f"Curves are drawn for {len(drawn)} of {len(styles)} arms: the reference arm and the arms of best mean "
            f"{results.metric_record(results.choose_by).label}. The tables have all of them."
        )
    _add_curves(gallery, results, drawn)
    _add_outcomes(gallery, results, styles)
    _add_landscapes(gallery, results)
    return gallery


def _add_power(gallery: Gallery, table: pd.DataFrame, metric: Metric, rope: float) -> None:
    """Add the power curve at the spread found here: the root mean square of the arms' standard deviations."""
    spreads = table["sd"].dropna() if len(table) else pd.Series(dtype=float)
    sd = float((spreads**2).mean() ** 0.5) if len(spreads) else 0.0
    if sd > 0 and rope > 0:
        powers = power_data(sd, [rope / 2, rope, 2 * rope], comparisons=len(table))
        gallery.add(draw_power(powers, sd, comparisons=len(table), metric=metric))


def _add_factor_pairs(gallery: Gallery, results: StudyResults) -> None:
    """Draw pairs of factors of which every combination of levels was tried: elsewhere lines would mislead."""
    trials, metric = results.trials, results.metric_record()
    done = trials[trials["status"] == "completed"].dropna(subset=[metric.name])
    crossed = [pair for pair in itertools.combinations(results.factors, 2) if _is_crossed(done, pair)]
    for first, second in crossed[:MOST_PAIRS]:
        pairs = two_factor_data(done, first, second, metric.name)
        gallery.add(draw_interaction(pairs, first, second, metric=metric))
        gallery.add(draw_heat_map(pairs, first, second, metric=metric))
    if len(crossed) > MOST_PAIRS:
        gallery.limits.append(f"{MOST_PAIRS} of {len(crossed)} pairs of factors are drawn together, the first named.")


def _is_crossed(trials: pd.DataFrame, pair: tuple[str, str]) -> bool:
    levels = trials[[FACTOR + name for name in pair]].dropna()
    sizes = [levels[column].nunique() for column in levels.columns]
    return min(sizes) > 1 and len(levels.drop_duplicates()) == sizes[0] * sizes[1]


def _add_curves(gallery: Gallery, results: StudyResults, drawn: Mapping[str, Any]) -> None:
    records = curve_metrics(results)
    curves = curve_data(results.epochs[results.epochs["arm"].isin(list(drawn))], records)
    if len(curves):
        gallery.add(draw_overlay(curves, drawn, records), hover=(curves, drawn, records))
        gallery.add(draw_arms(curves, drawn, records))
    quantiles = results.quantiles[results.quantiles["arm"].isin(list(drawn))]
    table = quantile_data(quantiles)
    if len(table):
        gallery.add(draw_quantiles(table, drawn))


def _drawn_arms(results: StudyResults, styles: Styles) -> dict[str, Any]:
    if len(styles) <= MOST_ARMS:
        return dict(styles)
    means = results.trials.groupby("arm")[[results.choose_by]].mean()
    ranked = by_rank(means, results.metric_record(results.choose_by))
    chosen = list(dict.fromkeys([results.reference_arm, *ranked.index]))[:MOST_ARMS]
    return {arm: style for arm, style in styles.items() if arm in chosen}


def _add_outcomes(gallery: Gallery, results: StudyResults, styles: Styles) -> None:
    trials = results.trials
    if len(trials):
        counts = confusion_data(trials, results.reference_arm)
        if len(counts):
            gallery.add(draw_confusion(counts, results.reference_arm))
    _add_ranking(gallery, results, styles)
    costs = cost_data(trials, results.metric_record())
    if len(costs) > 1:
        gallery.add(draw_cost(costs, styles, metric=results.metric_record()))
    add_timeline(gallery, results)


def _add_ranking(gallery: Gallery, results: StudyResults, styles: Styles) -> None:
    """Add the ranking of the arms where it can be made, and say why where it cannot."""
    if len(results.arms) < 3:
        return
    if len(results.arms) > MOST_RANKED:
        gallery.limits.append(f"Ranks are drawn for up to {MOST_RANKED} arms; this study has {len(results.arms)}.")
        return
    try:
        gallery.add(draw_ranking(ranking(results), styles, replicate=results.replicate))
    except StudyError as reason:
        gallery.limits.append(f"Ranks are not drawn: {reason}.")


def add_timeline(gallery: Gallery, results: StudyResults) -> None:
    """Add the picture of when and where the trials ran, if they say so."""
    timeline = timeline_data(results.trained)
    if len(timeline):
        gallery.add(draw_timeline(timeline))


def _add_landscapes(gallery: Gallery, results: StudyResults) -> None:
    keys = results.landscape[["digest", "surface", "arm", "seed"]].drop_duplicates()
    names = keys["arm"] + ", seed " + keys["seed"].astype(str)
    keys["name"] = names.where(~names.duplicated(keep=False), names + ", " + keys["surface"])
    chosen = keys.head(MOST_SURFACES)
    surfaces = {
        row["name"]: surface_data(results.landscape, row["digest"], row["surface"]) for row in chosen.to_dict("records")
    }
    if len(keys) > len(chosen):
        gallery.limits.append(f"{len(chosen)} of {len(keys)} loss landscapes are drawn; the store has all of them.")
    if len(surfaces) == 1:
        gallery.add(*(draw_landscape_contour(*surface, name=name) for name, surface in surfaces.items()))
    elif surfaces:
        gallery.add(draw_landscapes(surfaces))
    if surfaces:
        gallery.add(*(draw_landscape_surface(*surface, name=name) for name, surface in surfaces.items()))


def reported_gallery(results: StudyResults, styles: Styles) -> Gallery:
    """Return plots of the study's published and measured figures, one for each metric."""
    gallery = Gallery("reported")
    table = reported_data(results.trials, stated_figures(results))
    records = results.metric_records(dict.fromkeys(table["metric"]))
    gallery.add(*(draw_reported(table, styles, metric=metric) for metric in records.values()))
    return gallery
