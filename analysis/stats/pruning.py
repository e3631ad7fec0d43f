"""What early stopping did: do the rungs predict the last epoch, and what might pruned trials have reached?

All values are per epoch, of the metric that the study chooses by; the test split is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.factorization import complete, curves_matrix
from analysis.store._rows import level_text
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError, nearest
from search_spaces.metrics import Metric, require_direction

SURVIVORS = (
    "Only trials that were not pruned have values at later epochs, and they were kept because they were good. So the "
    "rank correlation with the last epoch is over a narrower range and underestimates, and means at later rungs are "
    "means of survivors: compare them only at a rung that all groups reached."
)


def rungs(results: StudyResults) -> tuple[int, ...]:
    """Return the epochs at which a trial could be stopped: those the study's ASHA has, and those where one was."""
    trials = results.trials
    found = set(trials.loc[trials["status"] == "pruned", "epochs_trained"].astype(int))
    asha = results.spec.search.asha if results.spec is not None and results.is_search else None
    if asha is not None and len(trials):
        last, factor = int(trials["epochs_planned"].max()), asha.reduction_factor
        for bracket in range(asha.brackets):
            rung = asha.grace_period * factor**bracket
            while rung < last:
                found.add(rung)
                rung *= factor
    return tuple(sorted(found))


def rank_correlations(results: StudyResults, metric: str | None = None) -> pd.DataFrame:
    """Return the rank correlation of each rung with the last epoch over completed trials: rung, n, spearman, kendall.

    NaN with fewer than 3 trials or where all are equal. Read with `SURVIVORS`.
    """
    from scipy import stats  # takes most of a second to import

    curves = _finished(results, metric)
    rows = []
    for rung in rungs(results):
        at = curves[[rung, curves.columns[-1]]].dropna() if rung in curves.columns else curves.iloc[:0]
        spearman = kendall = float("nan")
        if len(at) >= 3 and (at.nunique() > 1).all():
            spearman = float(stats.spearmanr(at.iloc[:, 0], at.iloc[:, 1]).statistic)
            kendall = float(stats.kendalltau(at.iloc[:, 0], at.iloc[:, 1]).statistic)
        rows.append({"rung": rung, "n": len(at), "spearman": spearman, "kendall": kendall})
    return pd.DataFrame(rows, columns=["rung", "n", "spearman", "kendall"])


def at_shared_rungs(results: StudyResults, by: str = "arm", metric: str | None = None) -> pd.DataFrame:
    """Return the mean of each group at the rungs, and the last epoch, that all groups reached.

    ``by``: a trials column, such as "arm" or "factor:model.norm". Columns: rung, group, n (trials seen there), of
    (trials in the group), mean, sd. Where n is below ``of`` the mean is of survivors.
    """
    if by not in results.trials.columns:
        raise StudyError(f"`by` is {by!r}, which is not a column of trials{nearest(by, results.trials.columns)}")
    curves = curves_matrix(results, metric or results.choose_by)
    groups = np.array([level_text(level) for level in results.trials[by]])
    rows = []
    for rung in dict.fromkeys([*rungs(results), int(curves.columns[-1])]):
        seen = curves[rung].groupby(groups).agg(["count", "size", "mean", "std"])
        if (seen["count"] > 0).all():
            rows += [
                {"rung": rung, "group": g, "n": n, "of": of, "mean": m, "sd": sd}
                for g, n, of, m, sd in seen.itertuples()
            ]
    return pd.DataFrame(rows, columns=["rung", "group", "n", "of", "mean", "sd"])


@dataclass(frozen=True)
class PrunedEnds:
    """The value that pruned trials would have at the last epoch, by low-rank completion of trials x epochs.

    ``table``, the best estimate first: digest, arm, seed, stopped_at (epoch), last (figure there), estimated_end,
    beats_winner. ``winner`` is the arm of the finished trial with the best figure at the last epoch, ``winner_end``
    that figure. The errors are on held-out cells, in the metric's unit; ``baseline_rmse`` is that of row and column
    effects alone.
    """

    table: pd.DataFrame
    winner: str
    winner_end: float
    rank: int
    heldout_rmse: float
    baseline_rmse: float
    reliable: bool
    words: str


FEWEST_FINISHED = 8
"""Completed trials below which an estimate never counts as reliable: the held-out error of fewer curves is chance."""


def estimated_ends(results: StudyResults, metric: str | None = None, seed: int = 0) -> PrunedEnds:
    """Estimate each pruned trial's figure at the last epoch; StudyError where no trial finished or none was pruned."""
    metric = metric or results.choose_by
    finished = _finished(results, metric)
    trials = results.trials
    pruned = (trials["status"] == "pruned").to_numpy()
    if finished.empty or not pruned.any():
        raise StudyError(
            f"nothing to estimate: {len(finished)} trials finished and {int(pruned.sum())} were pruned; both are needed"
        )
    record = results.metric_record(metric)
    sign = 1.0 if require_direction(record) else -1.0
    ends = finished.iloc[:, -1]
    best = int(np.argmax(sign * ends))
    winner = trials.set_index(["digest", "fingerprint"]).loc[ends.index[best]]
    usable = (trials["status"] == "completed").to_numpy() | pruned
    curves = curves_matrix(results, metric)[usable]
    found = complete(curves.to_numpy(float), seed=seed)
    reliable = found.reliable and len(finished) >= FEWEST_FINISHED
    of_pruned = pruned[usable]
    table = trials.loc[pruned, ["digest", "arm", "seed", "epochs_trained"]].rename(
        columns={"epochs_trained": "stopped_at"}
    )
    table["last"] = curves[of_pruned].ffill(axis=1).iloc[:, -1].to_numpy()
    table["estimated_end"] = found.matrix[of_pruned, -1]
    table["beats_winner"] = sign * table["estimated_end"] > sign * ends.iloc[best]
    return PrunedEnds(
        table=table.sort_values("estimated_end", ascending=sign < 0, ignore_index=True, kind="stable"),
        winner=str(winner["arm"]),
        winner_end=float(ends.iloc[best]),
        rank=found.rank,
        heldout_rmse=found.heldout_rmse,
        baseline_rmse=found.baseline_rmse,
        reliable=reliable,
        words=_words(record, int(table["beats_winner"].sum()), len(table), found.heldout_rmse, reliable),
    )


def _finished(results: StudyResults, metric: str | None) -> pd.DataFrame:
    curves = curves_matrix(results, metric or results.choose_by)
    return curves[(results.trials["status"] == "completed").to_numpy()].dropna(subset=[curves.columns[-1]])


def _words(metric: Metric, beating: int, count: int, error: float, reliable: bool) -> str:
    size = f"{metric.shows(error)} {metric.difference}".rstrip()
    better = f"{beating} of {count} pruned trials are" if beating else f"none of {count} pruned trials is"
    judged = "reliable" if reliable else "not reliable"
    return (
        f"{better} estimated to end better than the best completed trial; on curves that were cut short as a test, the "
        f"estimate was off by {size} (root mean square): it is {judged}"
    )
