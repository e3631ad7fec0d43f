"""Which cells a study needs now: a pure function of the study and of the results so far.

A study is trained in rounds. The runner trains the cells that are needed, then asks again, until none is needed. No
state is kept beside the stored results, so a run that was interrupted, extended or moved to a cluster goes on where the
results are. A plain ablation needs all of its cells at once; a sequential one those of its next look.

Imports neither torch nor ray: the service asks, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.plan import Cell, Plan
from search_spaces.study import StudySpec

Results = Mapping[str, Mapping[str, float | None]]
"""Digest -> metrics of each trial that ended; empty where it diverged or failed."""


def cells_needed(spec: StudySpec, plan: Plan, results: Results) -> list[Cell]:
    """Return the cells that the study needs for the results so far and that have not ended; none: it is complete."""
    return [cell for cell in cells_wanted(spec, plan, results) if cell.digest not in results]


def cells_wanted(spec: StudySpec, plan: Plan, results: Results) -> list[Cell]:
    """Return the cells that the study needs for the results so far, those that ended included."""
    if spec.sequential is None:
        return list(plan.cells)
    from analysis.stats.course import study_course  # takes a second to import

    wanted = study_course(spec, plan, results).wanted
    place = {seed: number for number, seed in enumerate(spec.seeds)}
    return [cell for cell in plan.cells if place[cell.config.seed] < wanted[cell.arm.name]]
