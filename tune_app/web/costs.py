"""What a study cost, from its index: in all, for each arm, against its budget, and what pruning saved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from search_spaces.budget import SECONDS_PER_HOUR, Budget, Usage, pruning_saved, total
from tune_app.web.index import StudyIndex
from tune_app.web.models import BudgetLimit, Cost, StudyCost
from tune_app.web.tables import Row

MAX_ARMS = 500


def usage(row: Row) -> Usage:
    """Return what a trial used."""
    return Usage.of(row["seconds"], row.get("gpus"), row.get("cpus"))


def cost(rows: Iterable[Row], budget: Budget | None) -> Cost:
    """Return what trials took: their own time, that times the share of GPUs and CPUs given, and its price."""
    rows = list(rows)
    return _cost(sum(row["seconds"] or 0.0 for row in rows), total(map(usage, rows)), budget)


def study_cost(study: StudyIndex) -> StudyCost:
    """Return the budget with what is spent, the cost of each planned arm, and what pruning saved."""
    budget = study.spec.budget if study.spec is not None else None
    rows = list(study.trials.values())
    limits = budget.limits(total(map(usage, rows))) if budget is not None else []
    by_arm: dict[str, list[Row]] = defaultdict(list)
    for row in rows if study.plan is not None else ():
        if row["planned"]:
            by_arm[row["arm"]].append(row)
    pruned = [row for row in rows if row["status"] == "pruned"]
    return StudyCost(
        limits=[BudgetLimit(name=one.name, limit=one.limit, spent=one.spent, left=one.left) for one in limits],
        arms={arm: cost(of_arm, budget) for arm, of_arm in list(by_arm.items())[:MAX_ARMS]},
        saved=_saved(pruned, budget) if pruned else None,
    )


def _saved(pruned: list[Row], budget: Budget | None) -> Cost:
    """Return what the remaining epochs of pruned trials would have taken."""

    def of(row: Row, gpus: float | None, cpus: float | None) -> Usage:
        return pruning_saved(row["seconds"], row["epochs_trained"], row["epochs_planned"], gpus, cpus)

    used = total(of(row, row.get("gpus"), row.get("cpus")) for row in pruned)
    seconds = sum(of(row, 0.0, 1.0).cpu_hours for row in pruned) * SECONDS_PER_HOUR
    return _cost(seconds, used, budget)


def _cost(seconds: float, used: Usage, budget: Budget | None) -> Cost:
    return Cost(
        trial_seconds=seconds,
        gpu_seconds=used.gpu_hours * SECONDS_PER_HOUR,
        cpu_seconds=used.cpu_hours * SECONDS_PER_HOUR,
        money=budget.cost(used) if budget is not None else None,
    )
