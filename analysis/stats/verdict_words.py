"""A comparison in a sentence or two: what was found, what cannot be said, which runs collapsed or gave no result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.stats.paired import ALPHA
from analysis.stats.power import smallest_difference, smallest_difference_interval
from analysis.stats.robust import FEWEST_FOR_BOOTSTRAP
from search_spaces.metrics import Metric


@dataclass(frozen=True)
class Comparison:
    """One row of the table of effects, with what the sentence needs beside it.

    ``study_collapsed``: collapsed and completed runs of the whole table. ``chance_known``: whether lost runs were
    counted at chance level; else at the worst value of the table. ``replicate``: "seed", or "repeat" of a tuned
    ablation. ``by_rule``: whether the verdict is that of a look.
    """

    n: int
    lost: int
    not_run: int
    difference: float
    sd: float
    low: float
    high: float
    low90: float
    high90: float
    p_holm: float
    verdict: str
    withheld: str
    warnings: str
    runs: int
    reference_runs: int
    collapsed: int
    reference_collapsed: int
    collapsed_p: float
    arm_lost: int
    reference_lost: int
    lost_p: float
    metric: Metric
    rope: float | None
    family: int
    study_collapsed: tuple[int, int]
    chance_known: bool
    replicate: str = "seed"
    by_rule: bool = False


def verdict_words(comparison: Comparison) -> str:
    """Return the verdict in words; differences in points for shares, else in the metric's unit."""
    c = comparison
    parts = [_withheld(c) if c.withheld else _finding(c)]
    if c.lost:
        parts.append(f"{_pairs(c.lost)} lost")
    if c.not_run:
        parts.append(f"{_pairs(c.not_run)} not run yet")
    if c.withheld != "collapse" and c.collapsed + c.reference_collapsed:
        parts.append(f"runs collapse: {_collapses(c)} (exact test of equal shares: p = {c.collapsed_p:.2g})")
    if c.withheld != "lost" and c.arm_lost + c.reference_lost:
        parts.append(
            f"runs without a result: {_losses(c)} (exact test of equal shares: p = {c.lost_p:.2g}); "
            "the figures are those of the runs that survived"
        )
    return "; ".join(parts)


def _pairs(count: int) -> str:
    return f"{count} {'pair' if count == 1 else 'pairs'}"


def _withheld(c: Comparison) -> str:
    interval = f"{_interval(c)}, " if np.isfinite(c.low) else ""
    found = f"the mean difference was {_signed(c, c.difference)} ({interval}n = {c.n})"
    if c.withheld == "collapse":
        return (
            f"undecided, runs collapse: {_collapses(c)}, {c.study_collapsed[0]} of {c.study_collapsed[1]} in all arms; "
            f"{found}, but how many runs collapse could by chance alone explain it"
        )
    if c.withheld == "uneven":
        why = "tests that allow for this do not confirm it"
        if c.n < FEWEST_FOR_BOOTSTRAP:
            why = f"{c.n} {c.replicate}s are too few for tests that allow for this"
        return f"undecided, results are uneven: {c.warnings}; {found}, but {why}"
    level = "chance level" if c.chance_known else "the worst observed value"
    return f"undecided, runs were lost: {_losses(c)}; {found}, but counting lost runs at {level} changes the verdict"


def _collapses(c: Comparison) -> str:
    return f"{c.collapsed} of {c.runs} here, {c.reference_collapsed} of {c.reference_runs} in the reference arm"


def _losses(c: Comparison) -> str:
    planned, reference_planned = c.runs + c.arm_lost, c.reference_runs + c.reference_lost
    return f"{c.arm_lost} of {planned} here, {c.reference_lost} of {reference_planned} in the reference arm"


def _finding(c: Comparison) -> str:
    if c.n == 0:
        return f"cannot tell: no {c.replicate} was completed in both arms"
    if c.n == 1:
        found = _signed(c, c.difference)
        return f"cannot tell: the difference is {found}, but one {c.replicate} does not show how much of it is chance"
    same = not np.isfinite(c.low)
    if same and abs(c.difference) < 1e-12:
        return _flat(c, f"identical results in all {c.n} {c.replicate}s")
    if same:
        found = f"all {c.n} {c.replicate}s differ by {_signed(c, c.difference)}"
        return _flat(c, f"{found}, so the spread over {c.replicate}s is not known")
    if c.verdict in ("better", "worse"):
        return f"{c.verdict} by {_size(c, abs(c.difference))} ({_interval(c)}, n = {c.n})"
    if c.verdict == "equivalent":
        interval = f"(90 % interval {_ends(c, c.low90, c.high90)}, n = {c.n})"
        if c.p_holm < ALPHA:
            return (
                f"equivalent: the difference of {_signed(c, c.difference)} is real but smaller than {_rope(c)}, "
                f"the least that matters {interval}"
            )
        return f"equivalent: no difference larger than {_rope(c)} {interval}"
    return _undecided(c)


def _flat(c: Comparison, found: str) -> str:
    if c.verdict == "undecided":
        return f"cannot tell: {found}, and {c.n} are too few to be sure that this holds for others"
    return f"{c.verdict}: {found}"


def _undecided(c: Comparison) -> str:
    least = smallest_difference(c.n, c.sd, comparisons=max(c.family, 1))
    low, high = smallest_difference_interval(c.n, c.sd, comparisons=max(c.family, 1))
    text = f"cannot tell with {c.n} {c.replicate}s ({_interval(c)}); "
    text += f"with 80 % power these {c.replicate}s detect a difference of about {_size(c, least)} "
    text += f"({_bare(c, low)} to {_bare(c, high)}, since their spread is uncertain)"
    if c.low > 0 or c.high < 0:
        text += f"; this interval alone leaves out zero, but {_why_not(c)}"
    return text


def _why_not(c: Comparison) -> str:
    if c.by_rule:
        return "the level of a look is stricter"
    return f"among {c.family} comparisons that can be chance"


def _signed(c: Comparison, value: float) -> str:
    unit = c.metric
    return f"{value * unit.scale:+.{unit.digits}f} {unit.difference}".replace("-", "−").rstrip()


def _bare(c: Comparison, value: float) -> str:
    return f"{value * c.metric.scale:.{c.metric.digits}f}"


def _size(c: Comparison, value: float) -> str:
    unit = c.metric
    return f"{value * unit.scale:.{unit.digits}f} {unit.difference}".rstrip()


def _rope(c: Comparison) -> str:
    return c.metric.amount(c.rope or 0)


def _interval(c: Comparison) -> str:
    return f"95 % interval {_ends(c, c.low, c.high)}"


def _ends(c: Comparison, low: float, high: float) -> str:
    unit = c.metric
    ends = [f"{end * unit.scale:+.{unit.digits}f}".replace("-", "−") for end in (low, high)]
    return f"{ends[0]} to {ends[1]}"
