"""One look for every picture: two themes, one fixed colour, dash and marker for each arm, two widths.

The seven hues were chosen by a search for the largest smallest distance in CIELAB, with and without simulated
deuteranopia, protanopia and tritanopia (Machado et al. 2009), at a contrast of 3:1 or more with the background.
Arms past the seventh repeat the hues with another dash and marker.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN = 3.3
"""Width in inches of a figure in one column of a two-column page."""
PAGE = 7.0
"""Width in inches of a figure across the page."""

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=Artist)

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Theme:
    """The colours of one background, as #rrggbb."""

    name: str
    surface: str
    ink: str
    muted: str
    grid: str
    wash: str
    palette: tuple[str, ...]

    def colors(self) -> dict[str, str]:
        """Return every colour of the theme by its role."""
        roles = {role: getattr(self, role) for role in ("surface", "ink", "muted", "grid", "wash")}
        return roles | {f"hue-{index}": color for index, color in enumerate(self.palette)}

    @property
    def rc(self) -> dict[Any, Any]:
        """Return the matplotlib settings of this theme."""
        inks = ("text.color", "axes.labelcolor", "axes.titlecolor", "legend.labelcolor")
        mutes = ("axes.edgecolor", "xtick.color", "ytick.color")
        grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
        return {
            **dict.fromkeys(inks, self.ink),
            **dict.fromkeys(mutes, self.muted),
            **dict.fromkeys(grounds, self.surface),
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "grid.color": self.grid,
            **_SHAPES,
        }


LIGHT = Theme(
    name="light",
    surface="#ffffff",
    ink="#1a1d21",
    muted="#5c656e",
    grid="#e3e6e9",
    wash="#eef1f3",
    palette=("#4a70c0", "#ba6240", "#1b9c8d", "#733a64", "#918000", "#6f37c8", "#781d0b"),
)
DARK = Theme(
    name="dark",
    surface="#14171a",
    ink="#e6e8ea",
    muted="#9aa4ad",
    grid="#2c3238",
    wash="#21262b",
    palette=("#5a9fd8", "#e77e3c", "#4fdca0", "#d58bb0", "#dfc92a", "#8f74f2", "#d8404f"),
)

_SHAPES: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.4,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "tune-app",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "text.usetex": False,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class ArmStyle:
    """How one arm looks everywhere. ``hue`` is a place in the palette, or None for the reference arm: plain ink."""

    index: int
    hue: int | None
    dash: Any
    marker: str

    def color(self, theme: Theme) -> str:
        """Return the arm's colour in a theme."""
        return theme.ink if self.hue is None else theme.palette[self.hue]

    @property
    def role(self) -> str:
        """Return the name of the arm's colour in `Theme.colors`."""
        return "ink" if self.hue is None else f"hue-{self.hue}"

    def tag(self, artist: A) -> A:
        """Mark an artist as the arm's, so that the report can hide it, and return it."""
        artist.set_gid(f"arm-{self.index}")
        return artist


Styles = Mapping[str, ArmStyle]


def arm_styles(arms: Iterable[str], reference: str | None = None) -> dict[str, ArmStyle]:
    """Return the style of each arm, in the order given; the reference arm is drawn in ink."""
    styles: dict[str, ArmStyle] = {}
    colored = 0
    for index, arm in enumerate(dict.fromkeys(arms)):
        if arm == reference:
            styles[arm] = ArmStyle(index, None, DASHES[0], MARKERS[0])
            continue
        turn, hue = divmod(colored, len(LIGHT.palette))
        marker = MARKERS[(hue + turn) % len(MARKERS)]
        styles[arm] = ArmStyle(index, hue, DASHES[turn % len(DASHES)], marker)
        colored += 1
    return styles


def themed(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the settings of its keyword argument ``theme`` (light if not given)."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        theme = kwargs.get("theme", LIGHT)
        assert isinstance(theme, Theme)
        with mpl.rc_context(theme.rc):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, with no tie to pyplot's global state."""
    return Figure(figsize=(width, height), layout="constrained")


def shared_panels(figure: Figure, count: int, columns: int) -> list[Axes]:
    """Add ``count`` axes with common scales, in rows of ``columns``; the lowest of each column numbers its x axis."""
    axes = figure.subplots(max(1, -(-count // columns)), columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.remove()
    for ax in axes[max(0, count - columns) : count]:
        ax.tick_params(labelbottom=True)
    return list(axes[:count])


def literal(text: object) -> str:
    """Return text that matplotlib prints as it is, dollar signs included."""
    return str(text).replace("$", r"\$")


def shorten(text: object, length: int = 28) -> str:
    """Return text for a label, cut in the middle where it is longer than ``length`` characters."""
    plain = str(text)
    if len(plain) > length:
        head = (length - 1) // 2
        plain = f"{plain[:head]}…{plain[len(plain) - (length - 1 - head) :]}"
    return literal(plain)
