"""A figure with the words that belong to it, and how both are saved."""

from __future__ import annotations

import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.plots.style import LIGHT
from search_spaces.errors import StudyError
from search_spaces.files import write_file

_NO_DATES: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class Picture:
    """A figure, its title, its caption (naming n and the interval) and a description for those who cannot see it."""

    figure: Figure
    title: str
    caption: str
    alt: str

    def _repr_html_(self) -> str:
        """Return the picture as a notebook shows it."""
        return (
            f'<figure role="group" aria-label="{html.escape(self.alt)}">{to_svg(self.figure)}'
            f"<figcaption><strong>{html.escape(self.title)}.</strong> {html.escape(self.caption)}</figcaption></figure>"
        )


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF by the path's ending, the same bytes each time; return the path."""
    path = Path(path)
    kind = path.suffix.removeprefix(".").lower()
    if kind not in _NO_DATES:
        raise StudyError(f"`{path.name}` cannot be written as a picture: the name must end in .png, .svg or .pdf")
    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": LIGHT.rc["svg.hashsalt"], "svg.fonttype": "path", "pdf.fonttype": 42}):
        figure.savefig(content, format=kind, dpi=200, metadata=_NO_DATES[kind])
    return write_file(path, content.getvalue())


def to_svg(figure: Figure, text: bool = True) -> str:
    """Return a figure as an ``<svg>`` element; its words as text that can be selected, or as outlines."""
    buffer = io.StringIO()
    settings: dict[Any, Any] = {"svg.hashsalt": LIGHT.rc["svg.hashsalt"], "svg.fonttype": "none" if text else "path"}
    with mpl.rc_context(settings):
        figure.savefig(
            buffer, format="svg", dpi=220, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    written = buffer.getvalue()
    return written[written.index("<svg") :]
