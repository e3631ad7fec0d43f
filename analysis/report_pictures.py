"""Which pictures a study's report shows: those its data can fill, and no more than can be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.load import StudyResults
from analysis.plots.curves import curve_data, draw_arms, draw_overlay
from analysis.plots.effects import draw_effects
from analysis.plots.seeds import draw_seeds, seed_data
from analysis.plots.style import Styles
from analysis.report_page import shown

MOST_ARMS = 12
"""Arms drawn into one picture of curves."""


@dataclass
class Gallery:
    """The pictures of a page, ready for the template, and what was left out, in words."""

    figures: list[dict[str, Any]] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)

    def add(self, picture: Any, hover: tuple[Any, Styles] | None = None) -> None:
        """Append a picture under the next id."""
        self.figures.append(shown(picture, f"picture-{len(self.figures) + 1}", hover))


def ablation_gallery(results: StudyResults, table: pd.DataFrame, styles: Styles, rope: float) -> Gallery:
    """Return the pictures of an ablation; ``table`` is that of `analysis.effects.effects`."""
    gallery = Gallery()
    if len(table):
        gallery.add(draw_effects(table, styles, metric=results.metric, rope=rope))
    if results.trials[results.metric].notna().any():
        gallery.add(draw_seeds(seed_data(results.trials, results.metric), styles, metric=results.metric))
    _add_curves(gallery, results, styles)
    return gallery


def _add_curves(gallery: Gallery, results: StudyResults, styles: Styles) -> None:
    arms = _drawn_arms(results, styles)
    if len(arms) < len(styles):
        gallery.limits.append(
            f"Curves are drawn for {len(arms)} of {len(styles)} arms: the reference arm and the arms of best mean "
            "validation accuracy. The table of effects and the trial table have all of them."
        )
    curves = curve_data(results.epochs[results.epochs["arm"].isin(arms)])
    if len(curves):
        chosen = {arm: styles[arm] for arm in arms}
        gallery.add(draw_overlay(curves, chosen), (curves, chosen))
        gallery.add(draw_arms(curves, chosen))


def _drawn_arms(results: StudyResults, styles: Styles) -> list[str]:
    if len(styles) <= MOST_ARMS:
        return list(styles)
    means = results.trials.groupby("arm")["val_accuracy"].mean().sort_values(ascending=False, na_position="last")
    chosen = dict.fromkeys([results.reference_arm, *means.index])
    keep = set(list(chosen)[:MOST_ARMS])
    return [arm for arm in styles if arm in keep]
