"""Which of a store's trials count: one row for each trial, and one version of the data for each cell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from search_spaces.data_versions import Trained, of_one_version
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


def current_trials(trials: Mapping[str, Row], digests: Collection[str] | None) -> tuple[set[str], set[str]]:
    """Return the keys of the trials that count, and of those of the study that are of another version of the data.

    ``digests``: the cells of an ablation; None for a search.
    """
    own = {key: row for key, row in trials.items() if digests is None or row["digest"] in digests}
    rows = [Trained(row["digest"], row["fingerprint"], _finished(row), row["config"]) for row in own.values()]
    counts = dict(zip(own, of_one_version(rows, latest=digests is None), strict=True))
    return {key for key in own if counts[key]}, {key for key in own if not counts[key]}


def _finished(row: Row) -> float:
    return float(row["finished_at"] or 0.0)


def cell_digests(plan: Plan) -> set[str]:
    """Return every cell that a study has or, of a tuned ablation, may come to have."""
    finals = {trial.final.digest for trial in plan.tuning}
    return finals | {trial.cell.digest for trial in plan.tuning} | {cell.digest for cell in plan.cells}


def results_of(rows: Iterable[Row]) -> Results:
    """Return the metrics of the trials that ended, by digest; empty where a trial gave no result."""
    return {row["digest"]: row["metrics"] if row["status"] == "completed" else {} for row in rows}
