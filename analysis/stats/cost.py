"""What a study cost: for each arm, against its budget, and what pruning saved."""

from __future__ import annotations

import pandas as pd

from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.budget import Limit, Usage, pruning_saved, total

_COLUMNS = ["seconds", "gpus", "cpus"]


def usage(results: StudyResults) -> Usage:
    """Return what all trials of the store used, those of cells that the study no longer has included."""
    return total(_usage(trials) for trials in (results.trained, results.other) if len(trials))


def cost_by_arm(results: StudyResults) -> pd.DataFrame:
    """Return arm, trials, GPU-hours, CPU-hours, and money (NaN without a price) of each arm, in the study's order."""
    budget = results.spec.budget if results.spec is not None else None
    rows = []
    for arm, trials in results.trained.groupby("arm", sort=False):
        used = _usage(trials)
        money = budget.cost(used) if budget is not None else None
        rows.append((arm, len(trials), used.gpu_hours, used.cpu_hours, float("nan") if money is None else money))
    return pd.DataFrame(rows, columns=["arm", "trials", "gpu_hours", "cpu_hours", "money"])


def saved_by_pruning(results: StudyResults) -> Usage:
    """Return what pruned trials would have used in their remaining epochs, each at its own time per epoch."""
    pruned = results.trials[results.trials["status"] == "pruned"]
    found = (
        pruning_saved(row.seconds, row.epochs_trained, row.epochs_planned, row.gpus, row.cpus)
        for row in rows_of(pruned[["epochs_trained", "epochs_planned", *_COLUMNS]].fillna(0))
    )
    return total(found)


def limits(results: StudyResults) -> list[Limit]:
    """Return each limit of the study's budget with what is spent of it."""
    budget = results.spec.budget if results.spec is not None else None
    return budget.limits(usage(results)) if budget is not None else []


def _usage(trials: pd.DataFrame) -> Usage:
    known = trials[_COLUMNS].fillna(0)
    return total(Usage.of(row.seconds, row.gpus, row.cpus) for row in rows_of(known))
