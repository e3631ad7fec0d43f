"""The cells of a study as a table of arms by seeds, and the rule for the cells that have no figure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.stats.stopping import course_of, wanted_seeds
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError, nearest


def metric_table(results: StudyResults, metric: str | None = None) -> pd.DataFrame:
    """Return the metric of completed cells: a row for each arm, a column for each seed, NaN where there is no figure.

    Pruned, diverged and failed cells have none, though the trials table may hold a validation figure for them: it is
    of another length of training. A figure that is not finite is none.
    """
    metric = metric or results.metric
    trials = results.trials
    if metric not in trials.columns or not pd.api.types.is_numeric_dtype(trials[metric]):
        raise StudyError(
            f"`metric` is {metric!r}, which is not a number in the trials table{nearest(metric, trials.columns)}"
        )
    figures = trials[metric].where(trials["status"] == "completed").astype(float)
    figures = figures.where(np.isfinite(figures))
    table = trials.assign(_figure=figures).pivot_table(
        index="arm", columns="seed", values="_figure", aggfunc="last", dropna=False, observed=True
    )
    return table.reindex(index=list(results.arms))


def status_table(results: StudyResults) -> pd.DataFrame:
    """Return how many cells of each arm have each status: rows arms, columns the four statuses."""
    counts = pd.crosstab(results.trials["arm"], results.trials["status"])
    return counts.reindex(index=list(results.arms), columns=["completed", "pruned", "diverged", "failed"], fill_value=0)


def missing_rule(results: StudyResults, reference: str | None = None) -> list[str]:
    """Return what is done about cells without a figure, then a sentence for each arm that lost pairs."""
    chosen = reference or results.reference_arm
    seeds = pd.crosstab(results.trials["arm"], results.trials["seed"]).reindex(list(results.arms)) > 0
    wanted = wanted_seeds(
        results, course_of(results), [str(arm) for arm in seeds.index], [int(seed) for seed in seeds.columns]
    )
    needed = pd.DataFrame(wanted, seeds.index, seeds.columns)
    completed = metric_table(results).notna().reindex(columns=seeds.columns, fill_value=False)
    rule = [
        f"A pair counts where both arms completed that {results.replicate}. A cell that was pruned, diverged or "
        "failed, or whose figure is not finite, is not filled in, and the same "
        f"{results.replicate} of the other arm is left out of that comparison."
    ]
    for arm in seeds.index.drop(chosen):
        planned = (seeds.loc[arm] | seeds.loc[chosen]) & needed.loc[arm] & needed.loc[chosen]
        lost = planned & ~(completed.loc[arm] & completed.loc[chosen])
        if lost.any():
            whole = int(planned.sum())
            rule.append(f"{arm}: {int(lost.sum())} of {whole} pairs lost ({_reasons(results, arm, chosen, lost)}).")
    return rule


def _reasons(results: StudyResults, arm: str, reference: str, lost: pd.Series) -> str:
    trials = results.trials[results.trials["seed"].isin(lost.index[lost])]
    parts = []
    for name in (arm, reference):
        of_arm = trials[trials["arm"] == name]
        cut = of_arm.loc[of_arm["status"] != "completed", "status"].value_counts()
        counts = [f"{count} {status}" for status, count in cut.items()]
        empty = int((~np.isfinite(of_arm.loc[of_arm["status"] == "completed", results.metric].astype(float))).sum())
        counts += [f"{empty} with no finite figure"] if empty else []
        absent = int(lost.sum()) - len(of_arm)
        counts += [f"{absent} not run"] if absent else []
        parts += [f"{name}: {', '.join(counts)}"] if counts else []
    return "; ".join(parts)
