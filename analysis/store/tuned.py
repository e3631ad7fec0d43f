"""Which stored rows of a tuned ablation are trials of the search inside the arms, and which are the final cells.

Nothing in a row says so: it follows from the digests of the current plan and, for final cells, from the results of the
trials. A final cell counts while its trial is the best of its arm and repeat.
"""

from __future__ import annotations

import json

import pandas as pd

from search_spaces.metrics import require_direction
from search_spaces.plan import Plan, make_plan
from search_spaces.study import StudySpec
from search_spaces.tuned_plan import Ended, chosen_trials

SUPERSEDED = "another trial is now the best of its arm and repeat"
UNFINISHED = "the search of its arm and repeat is not complete"


def choose_finals(placed: pd.DataFrame, spec: StudySpec) -> pd.DataFrame:
    """Return the rows, which have repeat, trial and is_final, with ``why`` set for final cells that do not count.

    A cell that several arms have gets a row for each of them.
    """
    plan = make_plan(spec)
    placed = pd.concat([placed.assign(_copy=False), _copies(placed, plan)], ignore_index=True)
    metric = spec.metric_record(spec.choose_by_metric())
    searched = placed[(placed["why"] == "") & ~placed["is_final"]]
    chosen = chosen_trials(plan, ended_trials(searched, metric.name), require_direction(metric))
    winners = {(trial.final.digest, trial.arm.name, trial.repeat) for trial in chosen}
    decided = {(trial.arm.name, trial.repeat) for trial in chosen}
    wins = [place in winners for place in zip(placed["digest"], placed["arm"], placed["repeat"], strict=True)]
    counts = pd.Series(wins, placed.index) | ~placed["is_final"] | (placed["why"] != "")
    is_decided = [place in decided for place in zip(placed["arm"], placed["repeat"], strict=True)]
    reason = pd.Series(is_decided, placed.index).map({True: SUPERSEDED, False: UNFINISHED})
    placed = placed.assign(why=placed["why"].where(counts, reason))
    is_current = placed["why"] == ""
    is_listed = is_current | ~(placed["_copy"] | placed["digest"].isin(placed.loc[is_current, "digest"]))
    return placed[is_listed].drop(columns="_copy").reset_index(drop=True)


def _copies(placed: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return further rows of the cells that other arms or repeats have, too, than the ones in ``placed``."""
    current = placed[placed["why"] == ""]
    row_of = {digest: place for place, digest in enumerate(current["digest"])}
    known = set(zip(current["digest"], current["arm"], current["repeat"], strict=True))
    rows, names = [], []
    for trial in plan.tuning:
        for cell, is_final in ((trial.cell, False), (trial.final, True)):
            place = (cell.digest, trial.arm.name, trial.repeat)
            if cell.digest in row_of and place not in known:
                known.add(place)
                rows.append(row_of[cell.digest])
                levels = json.dumps(dict(trial.arm.levels), default=str)
                names.append((trial.arm.name, levels, trial.arm.is_baseline, trial.repeat, trial.trial, is_final))
    columns = ("arm", "levels", "is_baseline", "repeat", "trial", "is_final")
    values = dict(zip(columns, zip(*names, strict=True), strict=True)) if names else {}
    return current.iloc[rows].assign(**values, _copy=True).astype(current.dtypes.to_dict())


def ended_trials(rows: pd.DataFrame, choose_by: str) -> Ended:
    """Return what each trial of the searches reached, from its row; None for one that diverged or failed."""
    done = rows["status"] == "completed"
    reached = rows[choose_by].where(done) if choose_by in rows else pd.Series(float("nan"), rows.index)
    return {
        digest: None if pd.isna(value) else float(value) for digest, value in zip(rows["digest"], reached, strict=True)
    }
