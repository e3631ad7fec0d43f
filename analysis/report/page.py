"""Put a context into a template: one HTML file with its style, its script and its pictures inside."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from analysis.plots.curves import Records
from analysis.plots.picture import Picture
from analysis.plots.style import DARK, LIGHT, Styles
from analysis.report.svg import hover_data, inline_svg
from search_spaces.files import write_file

Hover = tuple[pd.DataFrame, Styles, Records]
"""Learning curves, the arms' styles, and the records of their metrics."""
_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, context: dict[str, Any]) -> str:
    """Return the page; every value is escaped, and the page's own policy allows no script but its own."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = {
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
        "light": LIGHT.colors(),
        "dark": DARK.colors(),
    }
    return environment.get_template(template).render(page | context)


def shown(picture: Picture, prefix: str, hover: Hover | None = None) -> dict[str, Any]:
    """Return what the template needs of a picture; with ``hover`` the page shows the values under the pointer."""
    width = float(picture.figure.get_size_inches()[0]) * 96
    return {
        "id": prefix,
        "svg": inline_svg(picture, prefix),
        "title": picture.title,
        "caption": picture.caption,
        "least": round(min(width, 560) * 0.95),
        "most": round(width * 1.35),
        "hover": hover_data(picture, *hover) if hover else None,
    }


def arm_choices(styles: Styles) -> list[dict[str, Any]]:
    """Return the arms as the page's check boxes show them."""
    return [{"index": style.index, "hue": style.role, "name": arm} for arm, style in styles.items()]


def write_page(html: str, out: Path, name: str) -> Path:
    """Write a page to ``out``, or to ``name`` in it where ``out`` is not an .html file; return the file's path."""
    path = Path(out) if Path(out).suffix == ".html" else Path(out) / name
    return write_file(path, html)
