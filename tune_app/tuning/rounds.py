"""Which cells a study needs now: a pure function of the study and of the results so far.

A study is trained in rounds. The runner trains the cells that are needed, then asks again, until none is needed. No
state is kept beside the stored results, so a run that was interrupted, extended or moved to a cluster goes on where the
results are. A plain ablation needs all of its cells at once; a sequential one those of its next look.

Imports neither torch nor ray: the service asks, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from search_spaces.plan import Cell, Plan
from search_spaces.study import StudySpec

Results = Mapping[str, Mapping[str, float | None]]
"""Digest -> metrics of each trial that ended; empty where it diverged or failed."""


def cells_needed(spec: StudySpec, plan: Plan, results: Results) -> list[Cell]:
    """Return the cells that the study needs for the results so far and that have not ended; none: it is complete."""
    return [cell for cell in known_plan(spec, plan, results).cells if cell.digest not in results]


def known_plan(spec: StudySpec, plan: Plan, results: Results) -> Plan:
    """Return the plan as far as it is known: of a sequential study the cells of the looks that are certain by now."""
    if spec.sequential is None:
        return plan
    from analysis.stats.course import study_course  # takes a second to import

    wanted = study_course(spec, plan, results).wanted
    place = {seed: number for number, seed in enumerate(spec.seeds)}
    return replace(plan, cells=tuple(cell for cell in plan.cells if place[cell.config.seed] < wanted[cell.arm.name]))


def stage(spec: StudySpec, plan: Plan, results: Results) -> str:
    """Return where a sequential study is, such as "look 3 of 12"; empty when it is complete, and for other studies."""
    if spec.sequential is None:
        return ""
    from analysis.stats.course import study_course

    found = study_course(spec, plan, results)
    return "" if found.complete else f"look {found.reached + 1} of {len(found.plan.looks)}"
