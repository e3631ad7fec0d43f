"""What a column measures, in which unit, and how its values are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_FRACTIONS = {"accuracy": "accuracy", "f1_micro": "micro F1", "f1_macro": "macro F1"}


@dataclass(frozen=True)
class Unit:
    """A quantity: its name, its unit's sign, the factor from stored to shown values, digits after the point."""

    name: str
    sign: str
    scale: float = 1.0
    digits: int = 3

    @property
    def axis(self) -> str:
        """Return the axis label, such as "test accuracy (%)"."""
        return f"{self.name} ({self.sign})" if self.sign else self.name

    @property
    def difference(self) -> str:
        """Return the unit of a difference: percentages differ by points."""
        return "points" if self.sign == "%" else self.sign

    def show(self, value: float) -> str:
        """Return a stored value as it is written, with its unit."""
        space = "" if self.sign in ("%", "") else " "
        return f"{value * self.scale:.{self.digits}f}{space}{self.sign}"


_OTHERS = {
    "learning_rate": Unit("learning rate", "", digits=5),
    "gradient_norm": Unit("gradient norm", "L2"),
    "weight_norm": Unit("weight norm", "L2"),
    "dead_fraction": Unit("dead features", "%", 100.0, 1),
    "images_per_second": Unit("throughput", "images/s", digits=0),
    "seconds": Unit("training time", "s", digits=1),
    "parameters": Unit("trainable parameters", "", digits=0),
    "roughness": Unit("roughness of the loss surface", "decades", digits=2),
}


def unit_of(metric: str) -> Unit:
    """Return the unit of a column of the trials or epochs table; an unknown column is shown under its own name."""
    split, _, quantity = metric.partition("_")
    if split in _SPLITS and quantity in _FRACTIONS:
        return Unit(f"{_SPLITS[split]} {_FRACTIONS[quantity]}", "%", 100.0, 2)
    if split in _SPLITS and quantity == "loss":
        return Unit(f"{_SPLITS[split]} loss", "nats", digits=4)
    return _OTHERS.get(metric, Unit(metric.replace("_", " "), ""))


def span(counts: Iterable[int]) -> str:
    """Return the least and the greatest of some counts as they are written: "5", or "4 to 5"."""
    low, high = min(counts := list(counts), default=0), max(counts, default=0)
    return f"{low}" if low == high else f"{low} to {high}"


def seed_count(counts: Iterable[int]) -> str:
    """Return how many seeds there were: "1 seed", "5 seeds", "4 to 5 seeds"."""
    written = span(counts)
    return f"{written} {'seed' if written == '1' else 'seeds'}"
