"""Which factor matters: each factor's share by one or more measures, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analysis.plots.picture import Picture
from analysis.plots.style import LIGHT, PAGE, Theme, new_figure, shorten, themed
from analysis.store._rows import rows_of

MEASURES = {"fanova": "fANOVA (variance over the whole space)", "ped_anova": "PED-ANOVA (best trials against the rest)"}


@themed
def draw_importance(
    table: pd.DataFrame,
    trials: int,
    *,
    measures: Mapping[str, str] = MEASURES,
    notes: tuple[str, ...] = (),
    width: float = PAGE * 0.8,
    theme: Theme = LIGHT,
) -> Picture:
    """Draw the table of `stats.importances`: a column ``factor`` and one of shares for each measure."""
    rows = table.reset_index(drop=True)
    figure = new_figure(width, 0.8 + (0.14 + 0.16 * len(measures)) * max(len(rows), 2))
    ax = figure.subplots()
    height = 0.8 / len(measures)
    for index, (column, name) in enumerate(measures.items()):
        places = [place + (index - (len(measures) - 1) / 2) * height for place in range(len(rows))]
        shares = rows[column].to_numpy(float) * 100
        color = theme.palette[index]
        ax.barh(places, shares, height=height * 0.9, color=color, linewidth=0, label=name)
        for place, share in zip(places, shares, strict=True):
            ax.annotate(
                f"{share:.0f}", (share, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6.5
            )
    ax.set_yticks(range(len(rows)), [shorten(name, 30) for name in rows["factor"]])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.margins(x=0.08)
    ax.grid(False, axis="y")
    ax.set_xlabel("share of the whole (%)")
    figure.legend(loc="outside lower center", ncols=1)
    first = next(iter(measures))
    said = "; ".join(f"{row.factor} {getattr(row, first):.0%}" for row in rows_of(rows.head(12)))
    warnings = " ".join(f"{note[0].upper()}{note[1:]}." for note in notes)
    return Picture(
        figure,
        "Which factor matters",
        f"Shares of each factor over n = {trials} completed trials (no interval). Each measure adds up to 100 % even "
        f"where all differences are noise. {warnings}".rstrip(),
        f"Bars of importance. {measures[first]}: {said}.",
    )
