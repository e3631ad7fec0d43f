"""What a study shows so far: effects from `analysis` over all rows; verdicts only when no planned cell is missing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.errors import StudyError
from search_spaces.store_schema import CONFIRMATION
from tune_app.storage import Folder
from tune_app.web.index import StudyIndex
from tune_app.web.metrics import info, record
from tune_app.web.models import EffectRow, Effects
from tune_app.web.problems import ProblemError
from tune_app.web.summaries import metric_of, missing_cells, not_yet_decided, planned
from tune_app.web.tables import stamps

LARGE = 2000
"""Effects of more trials than this are computed by a process of their own."""
QUICK_SECONDS = 0.3
"""Effects that took longer than this are computed in the background while a page shows those of before."""


@dataclass(frozen=True)
class _Computed:
    version: str
    value: Any
    seconds: float = 0.0


class Answers:
    """Effects and reports of studies, computed once for each state of a store and metric."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._effects: dict[tuple[str, str], _Computed] = {}
        self._reports: dict[str, _Computed] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._all = threading.Lock()
        self._pending: set[str] = set()
        self._errors: dict[str, _Computed] = {}
        self._drawing = threading.Lock()  # one report at a time

    def effects(self, study: StudyIndex, metric: str | None) -> Effects:
        """Return each arm against the reference arm; StudyError for a metric that the study does not have."""
        chosen, version = metric or metric_of(study).name, study.finished_version
        key = (study.name, chosen)
        with self._lock(study.name):
            found = self._effects.get(key)
            if found is None or found.version != version:
                began = time.monotonic()
                value = compute_effects(study, chosen)
                found = _Computed(version, value, time.monotonic() - began)
                self._effects[key] = found
                if chosen == metric_of(study).name:
                    self._errors.pop(study.name, None)
        computed: Effects = found.value
        return computed

    def latest(self, study: StudyIndex) -> Effects:
        """Return the effects of the study's metric as `effects` does, or those of a moment ago where they take long.

        A ProblemError where they could not be computed in the background for the study as it is now.
        """
        if error := self._error(study):
            self._start(study)
            raise ProblemError(500, str(error))
        found = self._effects.get((study.name, metric_of(study).name))
        if found is None or found.seconds < QUICK_SECONDS or found.version == study.finished_version:
            return self.effects(study, None)
        self._start(study)
        computed: Effects = found.value
        return computed

    def latest_version(self, study: StudyIndex) -> str:
        """Return what changes whenever `latest` returns something else."""
        found = self._effects.get((study.name, metric_of(study).name))
        error = self._error(study)
        return (found.version if found is not None else "") + (f" {error}" if error else "")

    def _error(self, study: StudyIndex) -> Exception | None:
        """Return why the effects of the study as it is now could not be computed; None where they were, or not yet."""
        failed = self._errors.get(study.name)
        error: Exception | None = failed.value if failed and failed.version == study.finished_version else None
        return error

    def known_statement(self, study: StudyIndex) -> str | None:
        """Return what the effects of a complete study say; None, and computed in the background, where not known."""
        if study.plan is None or missing_cells(study) != 0 or not study.trials:
            return None
        found = self._effects.get((study.name, metric_of(study).name))
        if found is not None and found.version == study.finished_version:
            return str(found.value.statement)
        self._start(study)
        return None

    def _start(self, study: StudyIndex) -> None:
        """Compute the effects in the background, unless that is going on, or has failed with what will not pass."""
        error = self._error(study)
        if study.name not in self._pending and (error is None or isinstance(error, OSError)):
            self._pending.add(study.name)
            threading.Thread(target=self._compute, args=(study,), name="effects", daemon=True).start()

    def _compute(self, study: StudyIndex) -> None:
        version = study.finished_version
        try:
            self.effects(study, None)
        except (StudyError, ProblemError, OSError) as error:
            self._errors[study.name] = _Computed(version, error.with_traceback(None))  # whose frames hold the tables
        finally:
            self._pending.discard(study.name)

    def report(self, study: StudyIndex) -> Path:
        """Return the file of the study's report page, written again when the store has changed."""
        if not study.trials:
            raise ProblemError(404, "the study has no finished trial yet, so there is no report")
        version = ":".join([study.finished_version, *_confirmed_trials(study), *surfaces(study)])
        with self._lock(study.name):
            found = self._reports.get(study.name)
            if found is None or found.version != version or not found.value.exists():
                found = _Computed(version, self._write_report(study))
                self._reports[study.name] = found
        path: Path = found.value
        return path

    def _write_report(self, study: StudyIndex) -> Path:
        """Write the report in a process of its own: it takes seconds and, for a large store, much memory."""
        page = self._folder / study.name / "report.html"
        command = [sys.executable, "-m", "tune_app.web.report_child", study.folder.url, str(page)]
        with self._drawing:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ProblemError(500, f"the report could not be written: {said}")
        return page

    def _lock(self, name: str) -> threading.Lock:
        with self._all:
            return self._locks.setdefault(name, threading.Lock())


def _confirmed_trials(study: StudyIndex) -> list[str]:
    """Return the names of the trials that confirm a search, whose report begins with them; none for an ablation."""
    return [] if study.plan is not None else (Folder(study.folder.url + CONFIRMATION) / "trials").names(".parquet")


def surfaces(study: StudyIndex) -> list[str]:
    """Return what changes with the tables that `tune-app landscape` writes; the report draws them."""
    return [str(sorted(stamps(study.folder / table).items())) for table in ("landscape", "curvature")]


def compute_effects(study: StudyIndex, metric: str) -> Effects:
    """Return the effects of a study over all its rows; verdicts and their words only where nothing is missing."""
    missing, total = missing_cells(study), planned(study)
    if study.plan is None or missing is None or total is None:
        raise ProblemError(409, "effects compare the arms of an ablation; this study has none")
    described = info(record(metric, study.spec))
    base = {"study": study.name, "metric": described, "missing": missing, "planned": total}
    decided = missing == 0
    waiting = not_yet_decided(study, missing, total)
    nothing = Effects(**base, decided=False, statement=waiting, rows=[], problems=[])
    if not study.trials or (missing and study.stage):  # nothing is shown between looks: they are planned
        return nothing
    table = (_table_of_a_child if len(study.trials) > LARGE else effects_table)(study.folder.url, metric)
    if table is None:
        return nothing  # no search is complete yet
    rows = [_row(row, decided) for row in table["rows"]]
    statement = _summary(rows) if decided else waiting
    return Effects(**base, decided=decided, statement=statement, rows=rows, problems=table["problems"])


def effects_table(store: str, metric: str) -> dict[str, Any] | None:
    """Return the rows of the effects of a store and its problems; None where nothing can be compared yet."""
    from analysis import load_study
    from analysis.stats.effects import effects

    results = load_study(store, tables=())
    if results.is_tuned and not len(results.trials):
        return None
    try:
        rows = effects(results, metric).to_dict("records")
    except (KeyError, StudyError) as error:
        raise StudyError(f"`metric` is {metric!r}, but must be a metric of this study: {error}") from None
    return {"rows": rows, "problems": list(results.problems)}


def _table_of_a_child(store: str, metric: str) -> dict[str, Any] | None:
    """Return `effects_table`, computed by a process of its own: a large store takes seconds and much memory."""
    command = [sys.executable, "-m", "tune_app.web.effects_child", store, metric]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode == 2:
        raise StudyError(done.stderr.strip())
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ProblemError(500, f"the effects could not be computed: {said}")
    table: dict[str, Any] | None = json.loads(done.stdout)
    return table


def _row(row: Mapping[Any, Any], decided: bool) -> EffectRow:
    by_equivalence = decided and row["verdict"] == "equivalent"  # then the interval and the p are of that test
    level = 90 if by_equivalence else 95
    low, high = (row[f"{end}90" if by_equivalence else end] for end in ("low", "high"))
    return EffectRow(
        arm=row["arm"],
        reference=row["reference"],
        n=int(row["n"]),
        **{name: finite(row[name]) for name in ("mean", "reference_mean", "difference")},
        low=finite(low),
        high=finite(high),
        level=level,
        p=finite(row["equivalent_holm" if by_equivalence else "p_holm"]) if decided else None,
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
