"""Which cells a study needs now: a pure function of the study and of the results so far.

A study is trained in rounds. The runner trains the cells that are needed, then asks again, until none is needed. No
state is kept beside the stored results, so a run that was interrupted, extended or moved to a cluster goes on where the
results are. A plain ablation needs all of its cells at once; a sequential one those of its next look; a tuned one the
trials of the searches, and the final cell of an arm and repeat once its trials have ended.

Imports neither torch nor ray: the service asks, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from search_spaces.metrics import require_direction
from search_spaces.plan import Cell, Plan
from search_spaces.study import StudySpec
from search_spaces.tuned_plan import with_finals

if TYPE_CHECKING:
    from analysis.stats.course import Course

Results = Mapping[str, Mapping[str, float | None]]
"""Digest -> metrics of each trial that ended; empty where it diverged or failed."""


def cells_needed(spec: StudySpec, plan: Plan, results: Results) -> list[Cell]:
    """Return the cells that the study needs for the results so far and that have not ended; none: it is complete.

    A cell that several tuned arms have is there once.
    """
    missing: dict[str, Cell] = {}
    for cell in known_plan(spec, plan, results).cells:
        if cell.digest not in results:
            missing.setdefault(cell.digest, cell)
    return list(missing.values())


def cells_ahead(spec: StudySpec, plan: Plan, results: Results) -> list[Cell]:
    """Return further cells that the study is certain to need, for slots that are free while a look is under way."""
    if spec.sequential is None:
        return []
    found = _course(spec, plan, results)
    cells = _plan_of_seeds(spec, plan, found.ahead).cells if found.ahead != found.wanted else ()
    place = {seed: number for number, seed in enumerate(spec.seeds)}
    return [
        cell for cell in cells if cell.digest not in results and place[cell.config.seed] >= found.wanted[cell.arm.name]
    ]


def known_plan(spec: StudySpec, plan: Plan, results: Results) -> Plan:
    """Return the plan as far as it is known for the results so far.

    Of a sequential study it has the cells of the looks that are certain by now, of a tuned ablation also the final
    cells that follow from the results.
    """
    if spec.sequential is not None:
        return _plan_of_seeds(spec, plan, _course(spec, plan, results).wanted)
    if not plan.tuning:
        return plan
    metric = spec.metric_record(spec.choose_by_metric())
    ended = {digest: metrics.get(metric.name) for digest, metrics in results.items()}
    return with_finals(plan, ended, require_direction(metric))


def stage(spec: StudySpec, plan: Plan, results: Results) -> str:
    """Return where a sequential study is, such as "look 3 of 12"; empty when it is complete, and for other studies."""
    if spec.sequential is None:
        return ""
    found = _course(spec, plan, results)
    return "" if found.complete else f"look {found.reached + 1} of {len(found.plan.looks)}"


def _course(spec: StudySpec, plan: Plan, results: Results) -> Course:
    from analysis.stats.course import study_course  # takes a second to import

    return study_course(spec, plan, results)


def _plan_of_seeds(spec: StudySpec, plan: Plan, seeds: Mapping[str, int]) -> Plan:
    """Return the plan with the first seeds of each arm, by name, alone."""
    place = {seed: number for number, seed in enumerate(spec.seeds)}
    return replace(plan, cells=tuple(cell for cell in plan.cells if place[cell.config.seed] < seeds[cell.arm.name]))


def counts_by_arm(spec: StudySpec, plan: Plan, results: Results) -> dict[str, tuple[int, int]]:
    """Return for each arm how many trainings it takes in all, and how many of them have ended.

    In a sequential study an arm that goes on takes all seeds at most.
    """
    known, names = known_plan(spec, plan, results), plan.arm_names()
    if spec.sequential is not None:
        known = _plan_of_seeds(spec, plan, _course(spec, plan, results).most)
    finals = Counter(names[cell.digest] for cell in known.cells[len(plan.cells) :])
    planned = Counter(names[cell.digest] for cell in known.cells)
    done = Counter(names[cell.digest] for cell in known.cells if cell.digest in results)
    later = {arm.name: plan.later // len(plan.arms) - finals[arm.name] for arm in plan.arms}
    return {arm.name: (planned[arm.name] + later[arm.name], done[arm.name]) for arm in plan.arms}
