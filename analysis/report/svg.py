"""A figure as inline SVG that follows the page: its colours become CSS variables, its arms can be hidden."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from analysis.plots.curves import Records
from analysis.plots.picture import Picture, to_svg
from analysis.plots.style import LIGHT, Styles

_COLORS = {color: f"var(--{role})" for role, color in LIGHT.colors().items()}
_HEX = re.compile("|".join(map(re.escape, _COLORS)), re.IGNORECASE)
_LONG_NUMBER = re.compile(r"(-?\d+\.\d\d)\d+")


def inline_svg(picture: Picture, prefix: str) -> Markup:
    """Return a picture drawn in the light theme as an ``<svg>`` element for an HTML page.

    Every colour of the theme becomes ``var(--role)``, so that one drawing serves light, dark and print; artists tagged
    as an arm's carry ``data-arm``; ids get ``prefix`` so that two pictures on a page do not clash.
    """
    svg = to_svg(picture.figure)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bd="([^"]*)"', lambda path: _LONG_NUMBER.sub(r"\1", path[0]), svg)
    svg = re.sub(r'style="[^"]*"', _follow_page, svg)
    svg = re.sub(r'\bid="arm-(\d+)"', r'data-arm="\1"', svg)
    svg = re.sub(r'\bid="panel-[^"]*"', "", svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    width, height = picture.figure.get_size_inches() * 72
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(picture.alt)}">'
    return Markup(head + svg[svg.index(">") + 1 :])


def _follow_page(style: re.Match[str]) -> str:
    followed = _HEX.sub(lambda color: _COLORS[color[0].lower()], style[0])
    followed = re.sub(r"font: ([^;\"]*?\d+px) [^;\"]*", r"font: \1 var(--font)", followed)
    return re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", followed)


def hover_data(picture: Picture, curves: pd.DataFrame, styles: Styles, records: Records) -> dict[str, Any]:
    """Return what the page needs to show the values under the pointer: panels in the drawing's points, and means.

    Call it after the figure was drawn: the layout places the axes then.
    """
    width, height = picture.figure.get_size_inches() * 72
    panels = []
    for ax in picture.figure.axes:
        name = str(ax.get_gid() or "").removeprefix("panel-")
        means = curves[(curves["metric"] == name) & (curves["kind"] == "mean")]
        if not len(means):
            continue
        box, metric = ax.get_position(), records[name]
        by_arm = means.groupby("arm", sort=False)
        panels.append(
            {
                "box": [
                    round(v, 1) for v in (box.x0 * width, (1 - box.y1) * height, box.width * width, box.height * height)
                ],
                "x": [round(float(v), 3) for v in ax.get_xlim()],
                "name": metric.label,
                "sign": metric.unit,
                "arms": {styles[str(arm)].index: _series(mean, metric.scale) for arm, mean in by_arm},
            }
        )
    names = {style.index: arm for arm, style in styles.items()}
    hues = {style.index: style.role for style in styles.values()}
    return {"width": float(width), "height": float(height), "panels": panels, "names": names, "hues": hues}


def _series(mean: pd.DataFrame, scale: float) -> list[list[float | None]]:
    table = mean[["epoch", "value", "low", "high"]].to_numpy(float)
    table[:, 1:] *= scale
    return [[None if not np.isfinite(v) else float(f"{v:.4g}") for v in row] for row in table]
