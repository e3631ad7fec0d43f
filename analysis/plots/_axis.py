"""The values of one searched field as places on an axis: numbers as they are or logarithmic, all else by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.style import shorten
from analysis.store._rows import level_text
from analysis.store.cells import natural

_WIDE = 30
"""Largest over smallest value from which on an axis is logarithmic."""


@dataclass(frozen=True)
class FieldAxis:
    """Where each row's value lies, (N,); for a categorical field at 0, 1, 2, ... of ``levels``."""

    name: str
    places: np.ndarray
    levels: tuple[str, ...]
    is_log: bool

    @property
    def unit_places(self) -> np.ndarray:
        """Return the places scaled to 0 to 1, all at 0.5 where they do not differ."""
        places = np.log10(self.places) if self.is_log else self.places.astype(float)
        low, high = np.nanmin(places), np.nanmax(places)
        return (places - low) / (high - low) if high > low else np.full(len(places), 0.5)

    def label(self, ax: Axes, axis: str = "x") -> None:
        """Give the axis its scale, name and, for a categorical field, its levels."""
        which: dict[str, tuple[Any, Any, Any]] = {
            "x": (ax.set_xscale, ax.set_xticks, ax.set_xlabel),
            "y": (ax.set_yscale, ax.set_yticks, ax.set_ylabel),
        }
        set_scale, set_ticks, set_label = which[axis]
        if self.is_log:
            set_scale("log")
        if self.levels:
            set_ticks(range(len(self.levels)), [shorten(level, 12) for level in self.levels])
            if axis == "x":
                ax.tick_params(axis="x", rotation=0 if len(self.levels) < 4 else 35)
        set_label(shorten(self.name, 34))

    def ends(self) -> tuple[str, str]:
        """Return the lowest and the highest value as written."""
        if self.levels:
            return self.levels[0], self.levels[-1]
        return f"{np.nanmin(self.places):.3g}", f"{np.nanmax(self.places):.3g}"


def field_axis(values: pd.Series, name: str) -> FieldAxis:
    """Return the axis of a column: numeric where every value is a number (not a truth value), else categorical.

    A missing value is the level "null".
    """
    is_number = [isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in values]
    if len(values) and all(is_number) and values.notna().all():
        numbers = values.to_numpy(dtype=float)
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        return FieldAxis(name, numbers, (), bool(low > 0 and high / low > _WIDE))
    shown = [level_text(value) for value in values]
    levels = tuple(sorted(set(shown), key=natural))
    place = {level: number for number, level in enumerate(levels)}
    return FieldAxis(name, np.array([place[level] for level in shown], float), levels, False)
