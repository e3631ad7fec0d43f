"""Figures of `make bench` as a page: docs/benchmarks.md, with what is wanted of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

`make bench` measures and writes this page; `python -m bench start ray` measures some parts again. Ratios are of things
measured in turns in one run, and figures are medians. "Wanted" is what we ask of a quiet machine; a figure that
misses it is marked. The service has its tables in [service.md](service.md), growth with the number of trials is in
[scaling.md](scaling.md), and a GPU in [gpu.md](gpu.md).
"""


@dataclass(frozen=True)
class Goal:
    """What is wanted of the figures whose names match a pattern: ``low`` at least, ``high`` at most."""

    pattern: str
    low: float | None = None
    high: float | None = None

    def says(self) -> str:
        """Return it in words: "at most 1.25"."""
        bounds = (("at least", self.low), ("at most", self.high))
        return " and ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)

    def is_met(self, value: float) -> bool:
        """Return whether a figure is within the bounds."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


GOALS: Sequence[Goal] = (
    Goal(r"training\.fit_over_bare", low=0.95),
    Goal(r"norms\..*", high=1.5),
    Goal(r"start\.first_trial_over_floor", high=1.25),
    Goal(r"start\.quickstart_over_ideal", high=1.4),
    Goal(r"start\.(help|typo)", high=0.5),
    Goal(r"start\.(plan|run_again)", high=1.5),
    Goal(r"start\.report", high=3.0),
    Goal(r"estimate\..*_over_took", low=0.7, high=1.3),
    Goal(r"concurrency\..*", low=0.9),
    Goal(r"ray\.marginal_seconds_per_trial", high=0.03),
    Goal(r"store\.load_seconds", high=1.0),
    Goal(r"store\.load_peak_mb", high=500.0),
    Goal(r"store\.report_seconds", high=15.0),
)


def goal(name: str) -> Goal | None:
    """Return what is wanted of a figure; None where nothing is."""
    return next((one for one in GOALS if re.fullmatch(one.pattern, name)), None)


def page(results: Mapping[str, Mapping[str, Any]], about: Mapping[str, str]) -> str:
    """Return the page as Markdown.

    ``results``: measurement -> its ``figures``, with ``at`` (ISO time), ``machine`` and ``load`` (average before).
    ``about``: what each measures, in the order of the page.
    """
    return "\n".join([HEAD, *(_section(name, said, results[name]) for name, said in about.items() if name in results)])


def _section(name: str, about: str, result: Mapping[str, Any]) -> str:
    lines = [
        f"## {name.replace('_', ' ').capitalize()}",
        "",
        about,
        "",
        "| figure | value | wanted |",
        "|---|---:|---|",
    ]
    for figure, value in result["figures"].items():
        wanted = goal(figure)
        said = "" if wanted is None else wanted.says() + ("" if wanted.is_met(value) else ": **not met**")
        lines.append(f"| {figure} | {_shown(value)} | {said} |")
    day = datetime.fromisoformat(result["at"]).date()
    lines += ["", f"Measured on {day:%Y-%m-%d}: {result['machine']}; load average before {result['load']:.1f}.", ""]
    return "\n".join(lines)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
