"""How far a sequential study is: which look is reached, what is decided on each arm, and which seeds are needed now.

A pure function of the study and of the results so far. The run asks it for the cells to train, the report and the
service for the decisions, so all of them see the same looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.stats.collapse import Bools
from analysis.stats.paired import Floats
from analysis.stats.sequential import ArmDecision, SequentialPlan, certain_to_continue, decide, default_looks
from search_spaces.metrics import require_direction
from search_spaces.plan import Plan
from search_spaces.study import StudySpec


@dataclass(frozen=True)
class Course:
    """How far a sequential study is.

    ``reached``: number of looks that were made. ``decisions``: what they say about each arm, by name, the reference
    arm left out. ``wanted``: the number of seeds that each arm needs by now, the reference arm included. ``ahead``: the
    same with the look after the one under way, for arms that are certain to go on to it. ``complete``: whether all that
    are wanted ended, so that nothing more is needed.
    """

    plan: SequentialPlan
    reached: int
    decisions: Mapping[str, ArmDecision]
    wanted: Mapping[str, int]
    ahead: Mapping[str, int]
    complete: bool

    @property
    def most(self) -> Mapping[str, int]:
        """The number of seeds that each arm takes at most: all where it is not decided yet."""
        going_on = {arm for arm, decision in self.decisions.items() if decision.state == "continue"}
        last = self.plan.looks[-1]
        return {
            arm: last if arm in going_on or (going_on and arm not in self.decisions) else seeds
            for arm, seeds in self.wanted.items()
        }


def sequential_plan(spec: StudySpec) -> SequentialPlan:
    """Return the rule of a study that has `sequential`; its last look is at all seeds."""
    assert spec.sequential is not None
    most = len(spec.seeds)
    looks = tuple(sorted({*(spec.sequential.looks or default_looks(most)), most}))
    return SequentialPlan(looks, spec.sequential.spending, spec.sequential.futility, rope=spec.rope or None)


def course(
    values: Floats, ended: Bools, plan: SequentialPlan, *, higher_is_better: bool = True
) -> tuple[int, list[ArmDecision], list[int]]:
    """Return the number of looks made, the decisions, and the seeds that each row needs by now.

    ``values``, ``ended``: shape (arms + 1, seeds in the order in which they are planned), the reference arm first; NaN
    where a trial ended without a result. A look is made when every trial ended that it needs: those of the arms that
    are not decided yet, and of the reference arm.
    """
    differences = values[1:] - values[0]
    decisions = decide(differences[:, :0], plan, higher_is_better=higher_is_better)
    for number, look in enumerate(plan.looks):
        going_on = [decision.state == "continue" for decision in decisions]
        if not any(going_on):
            return number, decisions, _wanted(decisions)
        rows = np.flatnonzero([True, *going_on])
        if not ended[rows, :look].all():
            seeds = [look if goes_on else one.seeds for goes_on, one in zip(going_on, decisions, strict=True)]
            return number, decisions, [look, *seeds]
        decisions = decide(differences[:, :look], plan, higher_is_better=higher_is_better)
    return len(plan.looks), decisions, _wanted(decisions)


def _wanted(decisions: list[ArmDecision]) -> list[int]:
    seeds = [decision.seeds for decision in decisions]
    return [max(seeds, default=0), *seeds]


def ahead(
    values: Floats,
    ended: Bools,
    plan: SequentialPlan,
    made: tuple[int, list[ArmDecision], list[int]],
    *,
    higher_is_better: bool = True,
) -> list[int]:
    """Return the seeds that each row needs with the look after the one under way, where it is certain to go on.

    ``made``: what `course` returns for the same arguments. Slots that are free while the last trials of a look are
    running can be used for these.
    """
    reached, decisions, wanted = made
    if reached + 1 >= len(plan.looks) or not ended[0, : plan.looks[reached]].all():
        return wanted
    complete = ended[1:, : plan.looks[reached]].all(axis=1).tolist()
    differences = values[1:] - values[0]
    options = {"higher_is_better": higher_is_better}
    certain = certain_to_continue(differences, plan, decisions, reached, complete, **options)
    rows = [any(certain), *certain]
    return [plan.looks[reached + 1] if goes_on else seeds for goes_on, seeds in zip(rows, wanted, strict=True)]


def study_course(spec: StudySpec, plan: Plan, results: Mapping[str, Mapping[str, float | None]]) -> Course:
    """Return how far a sequential study is, from the metrics of each trial that ended, by digest.

    A trial that diverged or failed has no metrics: its pair is lost.
    """
    rule = sequential_plan(spec)
    names = [plan.reference_arm, *(arm.name for arm in plan.arms if arm.name != plan.reference_arm)]
    rows, columns = ({one: place for place, one in enumerate(of)} for of in (names, spec.seeds))
    values, ended = np.full((len(names), len(spec.seeds)), np.nan), np.zeros((len(names), len(spec.seeds)), bool)
    for cell in plan.cells:
        if cell.digest in results:
            place = rows[cell.arm.name], columns[cell.config.seed]
            value = results[cell.digest].get(spec.metric)
            values[place], ended[place] = np.nan if value is None else value, True
    higher = require_direction(spec.metric_record())
    made = course(values, ended, rule, higher_is_better=higher)
    reached, decisions, wanted = made
    further = ahead(values, ended, rule, made, higher_is_better=higher)
    return Course(
        plan=rule,
        reached=reached,
        decisions=dict(zip(names[1:], decisions, strict=True)),
        wanted=dict(zip(names, wanted, strict=True)),
        ahead=dict(zip(names, further, strict=True)),
        complete=all(ended[rows[name], :seeds].all() for name, seeds in zip(names, wanted, strict=True)),
    )
