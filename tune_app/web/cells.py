"""The cells of a study as its grid shows them: planned ones by state, of a search its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.plan import Cell, Plan
from tune_app.web.index import StudyIndex
from tune_app.web.models import GridCell
from tune_app.web.tables import Row

MAX_CELLS = 5000


@dataclass(frozen=True)
class Ended:
    """Arms and seeds of a study, and its first cells without what is running; ``places`` finds a cell by its digest."""

    arms: list[str]
    seeds: list[int]
    cells: list[GridCell]
    places: dict[str, int]


def ended_cells(study: StudyIndex, metric: str) -> Ended:
    """Return the planned cells in the plan's order; of a search, its trials, the latest first."""
    if study.plan is None:
        counted = ((key, row) for key, row in study.trials.items() if row["planned"])
        rows = sorted(counted, key=lambda item: -(item[1]["finished_at"] or 0.0))
        arms = list(dict.fromkeys(row["arm"] for _, row in rows))
        cells = [_ended_cell(row["arm"], row["seed"], key, row, metric) for key, row in rows[:MAX_CELLS]]
        places = {row["digest"]: place for place, (_, row) in enumerate(rows)}
        return Ended(arms, sorted({row["seed"] for _, row in rows}), cells, places)
    by_digest = {row["digest"]: (key, row) for key, row in study.trials.items() if row["planned"]}
    later = _later_cells(study.plan)
    arms = [arm.name for arm in study.plan.arms]
    planned = sorted(study.plan.cells, key=lambda cell: cell.arm.name not in arms)[: max(0, MAX_CELLS - len(later))]
    cells = later + [
        _ended_cell(cell.arm.name, cell.config.seed, *by_digest[cell.digest], metric)
        if cell.digest in by_digest
        else GridCell(arm=cell.arm.name, seed=cell.config.seed, state="missing")
        for cell in planned
    ]
    seeds = sorted(
        {cell.seed for cell in cells} | set(study.spec.seeds if study.spec and not study.plan.tuning else ())
    )
    return Ended(arms, seeds, cells, _places(planned, len(later)))


def _places(cells: Sequence[Cell], first: int) -> dict[str, int]:
    return {cell.digest: place for place, cell in enumerate(cells, start=first)}


def _later_cells(plan: Plan) -> list[GridCell]:
    """Return the final cells of a tuned ablation that are not known yet: the trials before them have not all ended."""
    known = {(cell.arm.name, cell.config.seed) for cell in plan.cells}
    later = dict.fromkeys((trial.arm.name, trial.final.config.seed) for trial in plan.tuning)
    return [GridCell(arm=arm, seed=seed, state="missing") for arm, seed in later if (arm, seed) not in known]


def with_running(study: StudyIndex, ended: Ended, running: Sequence[Mapping[str, Any]]) -> list[GridCell]:
    """Return the cells with those that are running in the place of missing and failed ones."""
    cells, new = list(ended.cells), []
    for trial in running:
        place = ended.places.get(trial["digest"])
        if place is None and study.plan is None:
            new.append(_running_cell(trial))
        elif place is not None and place < len(cells) and cells[place].state in ("missing", "failed"):
            before = cells[place]
            cells[place] = _running_cell({**trial, "arm": before.arm, "seed": before.seed})
    return [*new, *cells][:MAX_CELLS]


def _running_cell(trial: Mapping[str, Any]) -> GridCell:
    return GridCell(arm=trial["arm"], seed=trial["seed"], state="running", epoch=trial["epoch"], epochs=trial["epochs"])


def _ended_cell(arm: str, seed: int, key: str, row: Row, metric: str) -> GridCell:
    return GridCell(
        arm=arm,
        seed=seed,
        state=row["status"],
        value=row["metrics"].get(metric),
        trial=key,
        epoch=row["epochs_trained"],
        epochs=row["epochs_planned"],
    )
