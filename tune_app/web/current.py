"""Which of a store's trials count: one row for each trial, and one version of the data for each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from search_spaces.plan import Plan
from tune_app.tuning.rounds import Results
from tune_app.web.tables import COMPACT, Row


def one_row_per_trial(files: Iterable[tuple[str, list[Row]]]) -> dict[str, Row]:
    """Return one row for each trial: that of its own file, else of compacted ones the row that was finished last."""
    found: dict[str, Row] = {}
    for name, rows in files:
        for row in rows:
            key = f"{row['digest']}-{row['fingerprint']}"
            is_own = not name.startswith(COMPACT)
            if key not in found or is_own or _finished(row) >= _finished(found[key]):
                found[key] = row
    return found


def current_trials(trials: Mapping[str, Row], digests: Collection[str] | None) -> set[str]:
    """Return the keys of the trials that count: one for each cell, of one version of the data where there are several.

    The rule is that of `analysis.load_study`: the version that most cells of the study have, then the one finished
    last. ``digests``: the cells of the study; all if None.
    """
    own = {key: row for key, row in trials.items() if digests is None or row["digest"] in digests}
    cells = Counter(row["fingerprint"] for row in own.values())
    last: dict[str, tuple[tuple[int, float], str]] = {}
    for key, row in own.items():
        rank = cells[row["fingerprint"]], _finished(row)
        if row["digest"] not in last or rank >= last[row["digest"]][0]:
            last[row["digest"]] = rank, key
    return {key for _, key in last.values()}


def _finished(row: Row) -> float:
    return float(row["finished_at"] or 0.0)


def cell_digests(plan: Plan) -> set[str]:
    """Return every cell that a study has or, of a tuned ablation, may come to have."""
    finals = {trial.final.digest for trial in plan.tuning}
    return finals | {trial.cell.digest for trial in plan.tuning} | {cell.digest for cell in plan.cells}


def results_of(rows: Iterable[Row]) -> Results:
    """Return the metrics of the trials that ended, by digest; empty where a trial gave no result."""
    return {row["digest"]: row["metrics"] if row["status"] == "completed" else {} for row in rows}
