"""Counts as captions state them."""

from __future__ import annotations

from collections.abc import Iterable


def span(counts: Iterable[int]) -> str:
    """Return the least and the greatest of some counts as text: "5", or "4 to 5"."""
    low, high = min(counts := list(counts), default=0), max(counts, default=0)
    return f"{low}" if low == high else f"{low} to {high}"


def replicate_count(counts: Iterable[int], replicate: str = "seed") -> str:
    """Return how many seeds (or repeats) there were: "1 seed", "5 seeds", "4 to 5 seeds"."""
    written = span(counts)
    return f"{written} {replicate}{'' if written == '1' else 's'}"


def sentence_case(text: str) -> str:
    """Return text with a capital first letter, the rest as it is: "macro F1" -> "Macro F1"."""
    return text[:1].upper() + text[1:]
