"""Tuned ablations: differences untuned and tuned, validation against the budget, and every value that was tried."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from analysis.plots._axis import field_axis
from analysis.plots._words import EQUIVALENT_NOTE, sentence_case, shown_interval, span
from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Styles, Theme, new_figure, shorten, themed
from analysis.store._rows import rows_of
from search_spaces.metrics import Metric

MOST_FIELDS = 4
"""Tuned fields that are drawn."""


@themed
def draw_tuned(
    table: pd.DataFrame, styles: Styles, *, metric: Metric, rope: float = 0.0, width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw `analysis.stats.tuned.tuned_comparison`: each arm's difference untuned (open) and tuned (filled)."""
    figure = new_figure(width, 0.65 + 0.36 * max(len(table), 2))
    ax = figure.subplots()
    if rope:
        ax.axvspan(-rope * metric.scale, rope * metric.scale, color=theme.wash, zorder=0)
    ax.axvline(0, color=theme.muted, linewidth=0.8, zorder=1)
    for place, row in enumerate(rows_of(table)):
        style = styles[row.arm]
        color = style.color(theme)
        ends = (
            (place - 0.16, row.untuned_difference, shown_interval(row, "untuned_"), theme.surface, ":"),
            (place + 0.16, row.tuned_difference, shown_interval(row, "tuned_"), color, "-"),
        )
        for y, difference, (low, high), face, line in ends:
            if np.isfinite(low) and np.isfinite(high):
                x = [low * metric.scale, high * metric.scale]
                style.tag(ax.plot(x, [y, y], color=color, linewidth=1.4, linestyle=line)[0])
            point = ax.plot(difference * metric.scale, y, style.marker, color=color, markerfacecolor=face, markersize=5)
            style.tag(point[0])
    ax.set_yticks(range(len(table)), [shorten(arm, 26 if width > PAGE / 2 else 18) for arm in table["arm"]])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.set_xlabel(f"difference in {metric.label}" + (f" ({metric.difference})" if metric.difference else ""))
    return Picture(figure, "Untuned and tuned differences", _tuned_caption(table, metric), _tuned_alt(table, metric))


def _tuned_caption(table: pd.DataFrame, metric: Metric) -> str:
    reference = table["reference"].iloc[0] if len(table) else "none"
    equivalent = (table[["untuned_verdict", "tuned_verdict"]] == "equivalent").any(axis=None)
    note = f" ({EQUIVALENT_NOTE})" if equivalent else ""
    return (
        f"Mean difference in {metric.label} from “{reference}” with 95 % t intervals{note}, paired by repeat "
        f"(n = {span(table['tuned_n'])} repeats). Open, dotted: every arm at its own values (the first trial of each "
        "search). Filled: every arm with the values that its search chose, trained again with a fresh seed."
    )


def _tuned_alt(table: pd.DataFrame, metric: Metric) -> str:
    scale = metric.scale
    said = [
        f"{row.arm} {row.untuned_difference * scale:+.2f} untuned, {row.tuned_difference * scale:+.2f} tuned"
        for row in rows_of(table[(table["untuned_n"] > 0) & (table["tuned_n"] > 0)].head(12))
    ]
    return f"Differences in {metric.difference or metric.label} from the reference arm: {'; '.join(said) or 'none'}."


@themed
def draw_budget(
    curves: pd.DataFrame, styles: Styles, *, metric: Metric, width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw `analysis.stats.budget.budget_curves`: expected best validation figure against the number of trials."""
    figure = new_figure(width, min(width, PAGE) * 0.5)
    ax = figure.subplots()
    for arm, own in curves.groupby("arm", sort=False):
        style = styles[str(arm)]
        color = style.color(theme)
        low, high = own["low"] * metric.scale, own["high"] * metric.scale
        style.tag(ax.fill_between(own["trials"], low, high, color=color, alpha=0.12, linewidth=0))
        line = ax.plot(own["trials"], own["mean"] * metric.scale, color=color, linestyle=style.dash)[0]
        style.tag(line).set(marker=style.marker, label=shorten(arm))
    ax.set(xlabel="trials of the search (the first has the arm's own values)", ylabel=metric.axis)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=3)
    last = curves[curves["trials"] == curves.groupby("arm")["trials"].transform("max")]
    said = [f"{row.arm} {metric.show(row.mean)} with {row.trials} trials" for row in rows_of(last.head(12))]
    return Picture(
        figure,
        "What a larger budget gains",
        f"Expected best {metric.label} of a search with that many trials (unbiased estimate, mean over n = "
        f"{span(curves['repeats'])} repeats; bands: 95 % t interval over repeats at each number of trials). A lost "
        "trial counts as the worst possible value.",
        f"Curves of expected best {metric.label} against trials: {'; '.join(said)}.",
    )


@themed
def draw_tried(
    tried: pd.DataFrame, styles: Styles, *, metric: Metric, width: float = PAGE, theme: Theme = LIGHT
) -> Picture:
    """Draw `tried_data`, a panel for each tuned field: validation figure of every trial, chosen ones filled."""
    fields = list(dict.fromkeys(tried["field"]))[:MOST_FIELDS]
    columns = min(len(fields), 2) or 1
    rows = -(-len(fields) // columns) or 1
    figure = new_figure(width, 2.4 * rows)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for place, (ax, name) in enumerate(zip(axes, fields, strict=False)):
        panel = tried[tried["field"] == name]
        axis = field_axis(panel["value"], name)
        for arm in dict.fromkeys(panel["arm"]):
            style, own = styles[str(arm)], (panel["arm"] == arm).to_numpy()
            for chosen in (False, True):
                kept = own & (panel["chosen"] == chosen).to_numpy()
                face = style.color(theme) if chosen else "none"
                y = panel["reached"].to_numpy(float)[kept] * metric.scale
                points = ax.scatter(axis.places[kept], y, s=22 if chosen else 12, marker=style.marker, facecolors=face)
                style.tag(points).set(edgecolors=style.color(theme), linewidth=0.7)
                points.set_label(shorten(arm) if chosen and not place else "")
        axis.label(ax)
        ax.set_ylabel(metric.axis if place % columns == 0 else "")
    for ax in axes[len(fields) :]:
        ax.set_axis_off()
    figure.legend(loc="outside lower center", ncols=3)
    n = int((tried["field"] == fields[0]).sum())
    return Picture(
        figure,
        "Every value that was tried",
        f"{sentence_case(metric.label)} of each trial of the searches (n = {n} trials); "
        "filled: the best of its arm and repeat. Trials without a value are not drawn.",
        f"Scatter plots of {metric.label} against {', '.join(fields)}, by arm.",
    )


def tried_data(tuning: pd.DataFrame, chosen: pd.DataFrame, fields: list[str], choose_by: str) -> pd.DataFrame:
    """Return arm, field, value, reached (in ``choose_by``), chosen: a row for each completed trial and tuned field.

    ``chosen``: `analysis.stats.tuned.chosen_values`. A field that an arm does not tune is left out for it.
    """
    winners = set(zip(chosen["arm"], chosen["repeat"], chosen["trial"], strict=True))
    done = tuning[(tuning["status"] == "completed") & tuning[choose_by].notna()]
    is_chosen = [place in winners for place in zip(done["arm"], done["repeat"], done["trial"], strict=True)]
    parts = []
    for field in (name for name in fields if name in done.columns):
        part = done[["arm"]].assign(field=field, value=done[field], reached=done[choose_by], chosen=is_chosen)
        own = chosen[["arm", field]].dropna() if field in chosen else chosen.head(0)
        parts.append(part[part["arm"].isin(set(own["arm"]))])
    empty = pd.DataFrame(columns=["arm", "field", "value", "reached", "chosen"])
    return pd.concat(parts, ignore_index=True) if parts else empty
