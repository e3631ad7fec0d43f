"""What early stopping did to a comparison: do the rungs foretell the end, what might stopped trials have reached?

All figures are of validation, epoch by epoch; the test split takes no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.factorization import complete, curves_matrix
from analysis.plots.units import unit_of
from analysis.stats.pairs import higher_is_better
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError, nearest

METRIC = "val_accuracy"
SURVIVORS = (
    "Only trials that were let go on are seen at later epochs, and they were chosen for being good. So the rank "
    "correlation with the end is of a narrowed field and understates, and means at later rungs are of survivors: "
    "compare them only at a rung that all groups share."
)


def rungs(results: StudyResults) -> tuple[int, ...]:
    """Return the epochs at which a trial could be stopped: those the study's ASHA has, and those where one was."""
    trials = results.trials
    found = set(trials.loc[trials["status"] == "pruned", "epochs_trained"].astype(int))
    search = results.spec.get("search")
    asha = search.get("asha") if isinstance(search, Mapping) and results.spec.get("mode") == "search" else None
    if isinstance(asha, Mapping) and len(trials):
        last, factor = int(trials["epochs_planned"].max()), int(asha.get("reduction_factor", 3))
        for bracket in range(int(asha.get("brackets", 1))):
            rung = int(asha.get("grace_period", 1)) * factor**bracket
            while rung < last:
                found.add(rung)
                rung *= factor
    return tuple(sorted(found))


def rank_correlations(results: StudyResults, metric: str = METRIC) -> pd.DataFrame:
    """Return how well each rung foretells the end among the trials that finished: rung, n, spearman, kendall.

    NaN with fewer than 3 trials or where all are equal. Read with `SURVIVORS`.
    """
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


def at_shared_rungs(results: StudyResults, by: str = "arm", metric: str = METRIC) -> pd.DataFrame:
    """Return the mean of each group at the rungs, and the last epoch, that all groups reached.

    ``by``: a trials column, such as "arm" or "factor:model.norm". Columns: rung, group, n (trials seen there), of
    (trials in the group), mean, sd. Where n is below ``of`` the mean is of survivors.
    """
    if by not in results.trials.columns:
        raise StudyError(f"`by` is {by!r}, which is not a column of trials{nearest(by, results.trials.columns)}")
    curves = curves_matrix(results, metric)
    groups = results.trials[by].astype(str).to_numpy()
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
    """Where the stopped trials would have ended, by low-rank completion of trials x epochs.

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
    believable: bool
    words: str


FEWEST_FINISHED = 8
"""Finished trials below which an estimate is never believed: a held-out error over fewer curves is chance."""


def estimated_ends(results: StudyResults, metric: str = METRIC, seed: int = 0) -> PrunedEnds:
    """Estimate each pruned trial's figure at the last epoch; StudyError where no trial finished or none was pruned."""
    finished = _finished(results, metric)
    trials = results.trials
    pruned = (trials["status"] == "pruned").to_numpy()
    if finished.empty or not pruned.any():
        raise StudyError(
            f"nothing to estimate: {len(finished)} trials finished and {int(pruned.sum())} were pruned; both are needed"
        )
    sign = 1.0 if higher_is_better(metric) else -1.0
    ends = finished.iloc[:, -1]
    best = int(np.argmax(sign * ends))
    winner = trials.set_index(["digest", "fingerprint"]).loc[ends.index[best]]
    usable = (trials["status"] == "completed").to_numpy() | pruned
    curves = curves_matrix(results, metric)[usable]
    found = complete(curves.to_numpy(float), seed=seed)
    believable = found.believable and len(finished) >= FEWEST_FINISHED
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
        believable=believable,
        words=_words(metric, int(table["beats_winner"].sum()), len(table), found.heldout_rmse, believable),
    )


def _finished(results: StudyResults, metric: str) -> pd.DataFrame:
    curves = curves_matrix(results, metric)
    return curves[(results.trials["status"] == "completed").to_numpy()].dropna(subset=[curves.columns[-1]])


def _words(metric: str, beating: int, count: int, error: float, believable: bool) -> str:
    unit = unit_of(metric)
    size = f"{error * unit.scale:.{unit.digits}f} {unit.difference}".rstrip()
    told = f"{beating} of {count} pruned trials are estimated to end above the winner" if beating else (
        f"none of {count} pruned trials is estimated to beat the winner"
    )  # fmt: skip
    judged = "the estimate deserves belief" if believable else "the estimate does not deserve belief"
    return f"{told}; on curves cut short for a test it was off by {size} (root mean square): {judged}"
