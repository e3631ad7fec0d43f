"""Which stored rows of a tuned ablation are trials of the search inside the arms, and which are the final cells.

Nothing in a row says so: it follows from the digests of the current plan and, for final cells, from the results of the
trials. A final cell counts while its trial is the best of its arm and repeat.
"""

from __future__ import annotations

import pandas as pd

from search_spaces.metrics import require_direction
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from search_spaces.tuned_plan import Ended, chosen_trials

SUPERSEDED = "another trial is now the best of its arm and repeat"
UNFINISHED = "the search of its arm and repeat is not complete"


def choose_finals(placed: pd.DataFrame, spec: StudySpec) -> pd.DataFrame:
    """Return the rows, which have repeat, trial and is_final, with ``why`` set for final cells that do not count."""
    plan = make_plan(spec)
    metric = spec.metric_record(spec.choose_by_metric())
    chosen = chosen_trials(plan, ended_trials(placed, metric.name), require_direction(metric))
    winners = {trial.final.digest for trial in chosen}
    decided = {(trial.arm.name, trial.repeat) for trial in chosen}
    counts = placed["digest"].isin(winners) | ~placed["is_final"] | (placed["why"] != "")
    searched = [place in decided for place in zip(placed["arm"], placed["repeat"], strict=True)]
    reason = pd.Series(searched, placed.index).map({True: SUPERSEDED, False: UNFINISHED})
    return placed.assign(why=placed["why"].where(counts, reason))


def ended_trials(placed: pd.DataFrame, choose_by: str) -> Ended:
    """Return what each trial of the searches reached; None for one that diverged or failed."""
    rows = placed[(placed["why"] == "") & ~placed["is_final"]]
    done = rows["status"] == "completed"
    reached = rows[choose_by].where(done) if choose_by in rows else pd.Series(float("nan"), rows.index)
    return {
        digest: None if pd.isna(value) else float(value) for digest, value in zip(rows["digest"], reached, strict=True)
    }
