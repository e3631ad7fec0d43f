"""What a study shows so far: effects from `analysis` over all rows; verdicts only when no planned cell is missing."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.errors import StudyError
from tune_app.web.index import StudyIndex
from tune_app.web.metrics import info, record
from tune_app.web.models import EffectRow, Effects
from tune_app.web.problems import ProblemError
from tune_app.web.summaries import metric_of, missing_cells, not_yet_decided, planned


@dataclass
class _Computed:
    generation: int
    value: Any


class Answers:
    """Effects and reports of studies, computed once for each state of a store and metric."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._effects: dict[tuple[str, str], _Computed] = {}
        self._reports: dict[str, _Computed] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._all = threading.Lock()
        self._pending: set[str] = set()
        self.errors: dict[str, str] = {}
        self._drawing = threading.Lock()  # matplotlib draws one figure at a time

    def effects(self, study: StudyIndex, metric: str | None) -> Effects:
        """Return each arm against the reference arm; StudyError for a metric that the study does not have."""
        chosen, generation = metric or metric_of(study).name, study.generation
        key = (study.name, chosen)
        with self._lock(study.name):
            found = self._effects.get(key)
            if found is None or found.generation != generation:
                found = _Computed(generation, compute_effects(study, chosen))
                self._effects[key] = found
        computed: Effects = found.value
        return computed

    def known_statement(self, study: StudyIndex) -> str | None:
        """Return what the effects of a complete study say; None, and computed in the background, where not known."""
        if study.plan is None or missing_cells(study) != 0 or not study.trials:
            return None
        found = self._effects.get((study.name, metric_of(study).name))
        if found is not None and found.generation == study.generation:
            return str(found.value.statement)
        if study.name not in self._pending:
            self._pending.add(study.name)
            threading.Thread(target=self._compute, args=(study,), name="effects", daemon=True).start()
        return None

    def _compute(self, study: StudyIndex) -> None:
        try:
            self.effects(study, None)
        except (StudyError, ProblemError, OSError) as error:
            self.errors[study.name] = str(error)
        finally:
            self._pending.discard(study.name)

    def report(self, study: StudyIndex) -> Path:
        """Return the file of the study's report page, written anew when the store has changed."""
        if not study.trials:
            raise ProblemError(404, "the study has no finished trial yet, so there is no report")
        generation = study.generation
        with self._lock(study.name):
            found = self._reports.get(study.name)
            if found is None or found.generation != generation or not found.value.exists():
                found = _Computed(generation, self._write_report(study))
                self._reports[study.name] = found
        path: Path = found.value
        return path

    def _write_report(self, study: StudyIndex) -> Path:
        from analysis import load_study
        from analysis.report.study import write_report

        with self._drawing:
            return write_report(load_study(study.folder.url), self._folder / study.name / "report.html")

    def _lock(self, name: str) -> threading.Lock:
        with self._all:
            return self._locks.setdefault(name, threading.Lock())


def compute_effects(study: StudyIndex, metric: str) -> Effects:
    """Return the effects of a study over all its rows; verdicts and their words only where nothing is missing."""
    missing, total = missing_cells(study), planned(study)
    if study.plan is None or missing is None or total is None:
        raise ProblemError(409, "effects compare the arms of an ablation; this study has none")
    described = info(record(metric, study.spec))
    base = {"study": study.name, "metric": described, "missing": missing, "planned": total}
    decided = missing == 0
    nothing = Effects(**base, decided=False, statement=not_yet_decided(missing, total), rows=[], problems=[])
    if not study.trials:
        return nothing
    from analysis import load_study
    from analysis.stats.effects import effects

    results = load_study(study.folder.url)
    if results.is_tuned and not len(results.trials):
        return nothing  # no search is complete yet
    try:
        table = effects(results, metric)
    except (KeyError, StudyError) as error:
        raise StudyError(f"`metric` is {metric!r}, but must be a metric of this study: {error}") from None
    rows = [_row(row, decided) for row in table.to_dict("records")]
    statement = _summary(rows) if decided else not_yet_decided(missing, total)
    return Effects(**base, decided=decided, statement=statement, rows=rows, problems=list(results.problems))


def _row(row: Mapping[Any, Any], decided: bool) -> EffectRow:
    return EffectRow(
        arm=row["arm"],
        reference=row["reference"],
        n=int(row["n"]),
        **{name: finite(row[name]) for name in ("mean", "reference_mean", "difference", "low", "high")},
        p=finite(row["p_holm"]) if decided else None,
        verdict=str(row["verdict"]) if decided else None,
        words=str(row["words"]) if decided else "",
    )


def _summary(rows: list[EffectRow]) -> str:
    counts = Counter(row.verdict for row in rows)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{len(rows)} arms compared with {rows[0].reference}: {said}" if rows else "there is only one arm"


def finite(value: Any) -> float | None:
    """Return a number as JSON can hold it: None for NaN and infinity."""
    return None if value is None or not math.isfinite(float(value)) else float(value)
