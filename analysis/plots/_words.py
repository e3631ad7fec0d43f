"""Counts and intervals as captions and tables state them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

EQUIVALENT_NOTE = "of “equivalent”: the 90 % interval that its test rests on"


def span(counts: Iterable[int]) -> str:
    """Return the least and the greatest of some counts as text: "5", or "4 to 5"."""
    low, high = min(counts := list(counts), default=0), max(counts, default=0)
    return f"{low}" if low == high else f"{low} to {high}"


def shown_interval(row: Any, prefix: str = "") -> tuple[float, float]:
    """Return the 95 % interval, or for "equivalent" the 90 % one that its test rests on.

    ``prefix``: what the names of the row's columns begin with, such as "tuned_".
    """
    width = "90" if getattr(row, f"{prefix}verdict") == "equivalent" else ""
    return getattr(row, f"{prefix}low{width}"), getattr(row, f"{prefix}high{width}")


def replicate_count(counts: Iterable[int], replicate: str = "seed") -> str:
    """Return how many seeds (or repeats) there were: "1 seed", "5 seeds", "4 to 5 seeds"."""
    written = span(counts)
    return f"{written} {replicate}{'' if written == '1' else 's'}"


def sentence_case(text: str) -> str:
    """Return text with a capital first letter, the rest as it is: "macro F1" -> "Macro F1"."""
    return text[:1].upper() + text[1:]
