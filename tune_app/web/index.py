"""The index: every study of a results folder in memory, kept current by reading only new or replaced files."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from search_spaces._yaml import parse_stored
from search_spaces.errors import StudyError
from search_spaces.plan import Plan, make_plan
from search_spaces.study import StudySpec
from search_spaces.study_files import study_from_store
from tune_app.storage import Folder, StorageError
from tune_app.tuning.rounds import known_plan, stage
from tune_app.tuning.store.live import LIVE_FILE, read_live
from tune_app.tuning.store.locks import holder_here
from tune_app.web.current import cell_digests, current_trials, one_row_per_trial, results_of
from tune_app.web.problems import ProblemError
from tune_app.web.tables import EpochRows, Row, Stamp, Table, epoch_rows, stamps, trial_rows

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
T = TypeVar("T")
MAX_REMEMBERED = 40
REFRESH_SECONDS = 0.5
"""A study's folder is listed at most this often, however many clients ask; remote ones ten times less often."""


class StudyIndex:
    """One study's store in memory. Attributes are replaced whole, so a reader sees one state or the next."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.folder, self.name = folder, name
        self.tree: Mapping[str, Any] = {}
        self.environment: Mapping[str, Any] = {}
        self.spec: StudySpec | None = None
        self.planned: Plan | None = None
        self.plan: Plan | None = None  # `planned`, with the cells that follow from results
        self.stage = ""
        self.problems: tuple[str, ...] = ()
        self.trials: dict[str, Row] = {}
        self.live: Mapping[str, Any] | None = None
        self.version = ""
        self._trials = Table(folder / "trials", trial_rows)
        self._epochs = Table(folder / "epochs", epoch_rows)
        self._documents: dict[str, Stamp] = {}
        self._generation = 0
        self._token = secrets.token_hex(8)  # a restarted server counts from 0 again
        self._refreshed = 0.0
        self._epochs_at = -1
        self._curves: dict[str, EpochRows] = {}
        self._remembered: dict[str, tuple[str, Any]] = {}
        self._lock = threading.Lock()

    def refresh(self, least_seconds: float) -> None:
        """Bring the index up to date unless that was done within the last ``least_seconds``."""
        if time.monotonic() - self._refreshed < least_seconds:
            return
        with self._lock:
            if time.monotonic() - self._refreshed < least_seconds:
                return
            documents = stamps(self.folder, "")
            changed = self._read_documents(documents)
            changed |= self._epochs.has_passing and self._read_epochs()
            if self._trials.refresh() or changed:
                self._generation += 1
                self.trials = self._latest()
            if documents.get(LIVE_FILE) != self._documents.get(LIVE_FILE):
                self.live = read_live(self.folder)
            self._documents = documents
            live = documents.get(LIVE_FILE)
            self.version = hashlib.sha256(f"{self.finished_version} {live}".encode()).hexdigest()[:16]
            self._refreshed = time.monotonic()

    @property
    def finished_version(self) -> str:
        """Names the state of the study and its finished trials; live data does not count."""
        return f"{self._token}-{self._generation}"

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """Return what follows from the study and its finished trials alone, computed once for each state of them."""
        version, found = self._remembered.get(key, (None, None))
        if version != self.finished_version:
            version = self.finished_version
            found = make()
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered = {}
            self._remembered[key] = (version, found)
        return cast(T, found)

    def _read_documents(self, now: Mapping[str, Stamp]) -> bool:
        changed = False
        if now.get("study.yaml") != self._documents.get("study.yaml"):
            self._read_study()
            changed = True
        if now.get("environment.json") != self._documents.get("environment.json"):
            self.environment = _mapping(self.folder, "environment.json")
            changed = True
        return changed

    def _read_study(self) -> None:
        self.tree = _mapping(self.folder, "study.yaml")
        self.spec, self.planned, self.plan, self.problems = None, None, None, ()
        try:
            self.spec = study_from_store(self.tree)
            self.plan = self.planned = make_plan(self.spec) if self.spec.mode == "ablation" else None
        except StudyError as error:
            self.problems = (f"study.yaml cannot be planned by this release: {error}",)

    def _latest(self) -> dict[str, Row]:
        """Return one row for each trial, with the arm's name in the current plan, which is brought up to date."""
        found = one_row_per_trial(self._trials.ordered())
        counted, outdated = current_trials(found, cell_digests(self.planned) if self.planned else None)
        if self.spec is not None and self.planned is not None:
            results = results_of(found[key] for key in counted)
            self.plan = known_plan(self.spec, self.planned, results)
            self.stage = stage(self.spec, self.planned, results)
        plans = [plan for plan in (self.planned, self.plan) if plan is not None]
        names = {cell.digest: cell.arm.name for plan in plans for cell in plan.cells}
        known = {cell.digest for cell in self.plan.cells} if self.plan else set()
        for key, row in found.items():
            row["planned"] = key in counted and (not self.plan or row["digest"] in known)
            row["is_outdated"] = key in outdated
            row["arm"] = names.get(row["digest"], row["arm"])
        return found

    def epochs(self) -> Mapping[str, EpochRows]:
        """Return the epochs of every trial, read when they are first asked for."""
        with self._lock:
            if self._epochs_at != self._generation:
                self._read_epochs()
                self._epochs_at = self._generation
            return self._curves

    def _read_epochs(self) -> bool:
        changed = self._epochs.refresh()
        if changed:
            self._curves = {key: rows for _, part in self._epochs.ordered() for key, rows in part.items()}
        return changed

    def holder(self) -> str | None:
        """Return who runs the study at the moment, on this machine; None where nobody does."""
        return holder_here(self.folder) if self.folder.is_local else None

    @property
    def damaged(self) -> tuple[str, ...]:
        """Names of trial files that cannot be read."""
        return tuple(sorted(self._trials.damaged))


class ResultsIndex:
    """All studies of a results folder."""

    def __init__(self, results: str) -> None:
        self.folder = Folder(results)
        self._studies: dict[str, StudyIndex] = {}
        self._listed = -1e9
        self._lock = threading.Lock()
        self.least_seconds = REFRESH_SECONDS if self.folder.is_local else 10 * REFRESH_SECONDS

    def studies(self) -> list[StudyIndex]:
        """Return every study, up to date."""
        with self._lock:
            if time.monotonic() - self._listed >= self.least_seconds:
                names = self._names()
                self._studies = {
                    name: self._studies.get(name) or StudyIndex(self.folder / name, name) for name in names
                }
                self._listed = time.monotonic()
            found = list(self._studies.values())
        for study in found:
            study.refresh(self.least_seconds)
        return found

    def study(self, name: str) -> StudyIndex:
        """Return a study, up to date; a 404 problem where there is none."""
        study = self._studies.get(name)
        if study is None:
            self.studies()
            study = self._studies.get(name)
        if study is None:
            raise ProblemError(404, f"there is no study {name[:70]!r} in the results folder")
        study.refresh(self.least_seconds)
        return study

    def forget_listing(self) -> None:
        """List the folder again at the next request."""
        self._listed = -1e9

    def _names(self) -> list[str]:
        if self.folder.is_local:
            root = Path(self.folder.root)
            entries = [p.name for p in root.iterdir() if p.is_dir() and not p.is_symlink()] if root.is_dir() else []
        else:
            listed = self.folder.entries()
            entries = [one["name"].rstrip("/").rsplit("/", 1)[-1] for one in listed if one.get("type") == "directory"]
        return sorted(name for name in entries if NAME.fullmatch(name) and (self.folder / name).exists("study.yaml"))


def _mapping(folder: Folder, name: str) -> Mapping[str, Any]:
    try:
        found = parse_stored(folder.read(name), name)
    except StorageError:
        raise
    except (OSError, StudyError):
        return {}
    return found if isinstance(found, dict) else {}
