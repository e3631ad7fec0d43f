"""A comparison in a sentence or two: what was found, what cannot be said, which pairs were lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.stats.paired import ALPHA
from analysis.stats.power import smallest_difference
from search_spaces.metrics import Metric


@dataclass(frozen=True)
class Comparison:
    """One row of the table of effects, with what the sentence needs beside it."""

    n: int
    lost: int
    difference: float
    sd: float
    low: float
    high: float
    p_holm: float
    verdict: str
    metric: Metric
    rope: float | None
    family: int
    diverged: float
    reference_diverged: float


def verdict_words(comparison: Comparison) -> str:
    """Return the verdict in words; differences in points for shares, else in the metric's unit."""
    said = _finding(comparison)
    if comparison.lost:
        said += f"; {comparison.lost} {'pair' if comparison.lost == 1 else 'pairs'} lost"
    if comparison.diverged > comparison.reference_diverged:
        said += (
            f"; it diverged in {comparison.diverged:.0%} of its runs, "
            f"the reference in {comparison.reference_diverged:.0%}: this holds only for runs that both survive"
        )
    return said


def _finding(c: Comparison) -> str:
    if c.n == 0:
        return "cannot tell: no seed was completed in both arms"
    if c.n == 1:
        found = _signed(c, c.difference)
        return f"cannot tell: the difference is {found}, but one seed does not show how much of it is chance"
    same = not np.isfinite(c.low)
    if same and abs(c.difference) < 1e-12:
        return _flat(c, f"identical results in all {c.n} seeds")
    if same:
        return _flat(c, f"all {c.n} seeds differ by {_signed(c, c.difference)}, which shows no spread to judge it by")
    if c.verdict in ("better", "worse"):
        return f"{c.verdict} by {_size(c, abs(c.difference))} ({_interval(c)}, n = {c.n})"
    if c.verdict == "equivalent":
        there = c.p_holm < ALPHA
        beside = f"; {_signed(c, c.difference)} are there, but too little to matter" if there else ""
        return f"equivalent: no difference larger than {_rope(c)}{beside} ({_interval(c)}, n = {c.n})"
    return _undecided(c)


def _flat(c: Comparison, found: str) -> str:
    if c.verdict == "undecided":
        return f"cannot tell: {found}, and {c.n} are too few to be sure that this holds for others"
    return f"{c.verdict}: {found}"


def _undecided(c: Comparison) -> str:
    least = smallest_difference(c.n, c.sd, comparisons=max(c.family, 1))
    said = f"cannot tell with {c.n} seeds ({_interval(c)}); "
    said += f"the smallest difference these seeds can detect is about {_size(c, least)}"
    if c.low > 0 or c.high < 0:
        said += f"; this interval alone leaves out zero, but among {c.family} comparisons that can be chance"
    return said


def _signed(c: Comparison, value: float) -> str:
    unit = c.metric
    return f"{value * unit.scale:+.{unit.digits}f} {unit.difference}".replace("-", "−").rstrip()


def _size(c: Comparison, value: float) -> str:
    unit = c.metric
    return f"{value * unit.scale:.{unit.digits}f} {unit.difference}".rstrip()


def _rope(c: Comparison) -> str:
    unit = c.metric
    return f"{(c.rope or 0) * unit.scale:g} {unit.difference}".rstrip()


def _interval(c: Comparison) -> str:
    unit = c.metric
    ends = [f"{end * unit.scale:+.{unit.digits}f}".replace("-", "−") for end in (c.low, c.high)]
    return f"95 % interval {ends[0]} to {ends[1]}"
