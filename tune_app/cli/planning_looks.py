"""What `plan` shows of a sequential study: its looks, and how many trainings they can be expected to take."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from analysis.stats.course import sequential_plan
from analysis.stats.forecast import forecast
from search_spaces.study import StudySpec
from tune_app.cli.detectable import Spread

STUDIES = 200
ASSUMED: dict[str, tuple[float, ...]] = {
    "none": (0.0,),
    "1 sd in each arm": (1.0,),
    "2 sd in each arm": (2.0,),
    "a mix: 0, 0, 0.5, 1, 2, 4 sd": (0.0, 0.0, 0.5, 1.0, 2.0, 4.0),
}
"""Assumed true differences, in standard deviations of the paired differences; the arms take them in turn."""


def show_looks(spec: StudySpec, arms: int, known: Spread | None, out: Console) -> None:
    """Print the looks of a sequential study with ``arms`` beside the reference arm, and the expected trainings.

    Without a known spread of the paired differences it is taken as twice the rope, or as 1.
    """
    spread = known.sd if known is not None else 2 * spec.rope or 1.0
    origin = known.origin if known is not None else "assumed spread of differences"
    plan = sequential_plan(spec)
    out.print(f"looks at {', '.join(map(str, plan.looks))} seeds; an arm that is decided gets no more")
    table = Table()
    for heading in ("assumed true differences", "expected trainings", "all seeds", "share", "arms found different"):
        table.add_column(heading, justify="left" if heading.startswith("assumed") else "right")
    for name, cycle in ASSUMED.items():
        effects = [spread * cycle[arm % len(cycle)] for arm in range(arms)]
        found = forecast(effects, plan, sd=spread, studies=STUDIES)
        table.add_row(
            name,
            f"{found.trainings:.0f} ± {found.error:.0f}",
            str(found.fixed),
            f"{100 * found.trainings / found.fixed:.0f} %",
            f"{sum(found.decided):.1f} of {arms}",
        )
    out.print(table)
    out.print(f"by simulation, with the {origin}, sd {spread:.4g}, and rope {spec.rope:g}")
