"""Which cells a study needs now: a pure function of the study and of the results so far.

A study is trained in rounds. The runner trains the cells that are needed, then asks again, until none is needed. No
state is kept beside the stored results, so a run that was interrupted, extended or moved to a cluster goes on where the
results are. A plain ablation needs all of its cells at once; a tuned one the trials of the searches, and the final cell
of an arm and repeat once its trials have ended. Imports neither torch nor ray: the service asks, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from search_spaces.metrics import require_direction
from search_spaces.plan import Cell, Plan
from search_spaces.study import StudySpec
from search_spaces.tuned_plan import with_finals

Results = Mapping[str, Mapping[str, float | None]]
"""Digest -> metrics of each trial that ended; empty where it diverged or failed."""


def cells_needed(spec: StudySpec, plan: Plan, results: Results) -> list[Cell]:
    """Return the cells that the study needs for the results so far and that have not ended; none: it is complete."""
    return [cell for cell in known_plan(spec, plan, results).cells if cell.digest not in results]


def known_plan(spec: StudySpec, plan: Plan, results: Results) -> Plan:
    """Return the plan as far as it is known: of a tuned ablation with the final cells that follow from the results."""
    if not plan.tuning:
        return plan
    metric = spec.metric_record(spec.choose_by_metric())
    ended = {digest: metrics.get(metric.name) for digest, metrics in results.items()}
    return with_finals(plan, ended, require_direction(metric))


def counts_by_arm(spec: StudySpec, plan: Plan, results: Results) -> dict[str, tuple[int, int]]:
    """Return for each arm how many trainings it takes in all, and how many of them have ended."""
    known, names = known_plan(spec, plan, results), plan.arm_names()
    finals = Counter(names[cell.digest] for cell in known.cells[len(plan.cells) :])
    planned = Counter(names[cell.digest] for cell in known.cells)
    done = Counter(names[cell.digest] for cell in known.cells if cell.digest in results)
    later = {arm.name: plan.later // len(plan.arms) - finals[arm.name] for arm in plan.arms}
    return {arm.name: (planned[arm.name] + later[arm.name], done[arm.name]) for arm in plan.arms}
