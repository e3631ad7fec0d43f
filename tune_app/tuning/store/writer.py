"""The results store's writer: rows by digest and fingerprint, renamed into place, the trial's own row last."""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from search_spaces._yaml import mapping_in, parse_json
from search_spaces.errors import StudyError
from search_spaces.files import open_regular
from search_spaces.metrics import IMAGE_METRICS
from search_spaces.parquet_files import open_parquet, python_rows, read_within_budget
from search_spaces.store_schema import TABLES, check_version, key, metric_columns, table_schema
from tune_app.cache_folder import cache_folder
from tune_app.storage import UNFINISHED, Folder, StorageError
from tune_app.tuning.store.merging import COMPACT, IN_ORDER, MERGED, merge_files

TRIALS_PER_SEGMENT = 256
"""How many trials a run finishes before it merges their files. A reader opens at most so many small files."""
LEAST_MERGED = 16
"""How many trials at the end of a run are merged. Reading 60 trials one by one takes a seventh of a report's time."""

_KEYS = ("digest", "fingerprint")
_NUMBERS = ("seed", "seconds", "gpus", "cpus", "best_epoch")
_OWN = (*_KEYS, "status", "arm", "task", "code", "choose_by", *_NUMBERS, "finished_at")
_COLUMNS = (*_OWN, "schema_version", "config")


@dataclass(frozen=True)
class Stored:
    """What is known of a trial that the store holds."""

    digest: str
    fingerprint: str
    status: str
    arm: str
    seed: int
    config: Mapping[str, Any]
    seconds: float | None
    metrics: Mapping[str, float | None]
    task: str | None = None
    """None for image classification."""
    code: str | None = None
    """Fingerprint of the user's code, where there was some."""
    choose_by: str | None = None
    """The metric that chose the best epoch; None: val_accuracy."""
    best_epoch: int | None = None
    gpus: float | None = None
    cpus: float | None = None
    finished_at: float | None = None
    """Seconds since 1970."""


class ResultsStore:
    """The folder ``results/<study>``, for writing."""

    def __init__(self, results: str, study: str) -> None:
        """Open (not yet make) the store of a study under a results folder or URL."""
        self.folder = Folder(results) / study
        self.require_held: Callable[[], None] = lambda: None
        """Raises StorageError where another run has taken the store over; set by the run that holds it."""
        self.run_id = secrets.token_hex(8)
        """Written into each row, so that readers notice tables of one trial that two runs wrote."""
        self._kept: list[Stored] | None = None
        self._damage: dict[str, str] = {}
        self._unmerged: dict[str, dict[str, pa.Table]] = {table: {} for table in IN_ORDER}

    @property
    def damage(self) -> list[str]:
        """Sentences about the files that could not be read so far: their cells count as missing."""
        return list(self._damage.values())

    def prepare(self) -> None:
        """Make the folder and try to write in it, so that a store that cannot be written is known before training."""
        try:
            self.folder.write(".writable", b"")
            self.folder.remove(".writable")
        except StorageError:
            raise
        except OSError as error:
            raise StudyError(
                f"results folder {self.folder.url} cannot be written: {error}; choose another by --results"
            ) from None

    def sweep(self) -> None:
        """Remove what a killed run left half-written. Nobody else writes: the run holds the store."""
        if not self.folder.is_local:
            return
        for path in Path(self.folder.root).rglob(f".*{UNFINISHED}"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def scratch(self) -> TemporaryDirectory[str]:
        """Return a folder for the time of a run: in the store where `sweep` finds it, or this machine's own."""
        home = self.folder.root if self.folder.is_local else None
        return TemporaryDirectory(prefix=".scratch-", suffix=UNFINISHED, dir=home, ignore_cleanup_errors=True)

    def write_study(self, study: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Write what is run and where, replacing what an earlier run wrote."""
        self.folder.write("study.yaml", yaml.safe_dump(dict(study), sort_keys=False, allow_unicode=True).encode())
        self.folder.write("environment.json", json.dumps(environment, indent=2).encode())

    def write_trial(
        self,
        row: Mapping[str, Any],
        tables: Mapping[str, Sequence[Mapping[str, Any]]],
        metrics: Iterable[str] = tuple(IMAGE_METRICS),
    ) -> None:
        """Write one trial: its rows of the other tables first, its own row last, each file whole.

        ``metrics`` are those that the task declares: each is a column of ``trials`` and ``epochs``. After every
        TRIALS_PER_SEGMENT trials their files are merged.
        """
        self.require_held()
        name = f"{key(row['digest'], row['fingerprint'])}.parquet"
        for table, rows in [*tables.items(), ("trials", [row])]:
            if rows:
                content = arrow_table(table, [{**one, "run_id": self.run_id} for one in rows], metrics)
                self.folder.write(f"{table}/{name}", encoded(content))
                if row["status"] in MERGED:
                    self._unmerged[table][name] = content
        self.merge(TRIALS_PER_SEGMENT)

    def merge(self, least: int = LEAST_MERGED) -> None:
        """Merge the files that this run has written since the last time, where they are of at least so many trials."""
        if len(self._unmerged["trials"]) < least:
            return
        for table in IN_ORDER:
            parts, self._unmerged[table] = self._unmerged[table], {}
            if parts:
                merge_files(self.folder / table, table, parts)

    def trials(self) -> list[Stored]:
        """Return every trial that the store holds, of any schema version up to this release's.

        A trial's own file counts before a merged one, whatever the clocks said: it was written later. Of two merged
        ones the later row counts. A file that cannot be read counts as not there, and `damage` names it. Raises
        StudyError for a newer schema version.
        """
        if self._kept is not None:
            return list(self._kept)
        names = (self.folder / "trials").names(".parquet")
        found: dict[tuple[str, str], Stored] = {}
        for name in sorted(names, key=lambda name: not name.startswith(COMPACT)):
            rows = self._rows("trials", name, _COLUMNS, with_metrics=True)
            check_version((row["schema_version"] for row in rows if row["schema_version"]), self.folder.url)
            for row in rows:
                trial = _stored(row)
                if trial is None:
                    self._note(f"trials/{name}", "a row of it is damaged")
                    continue
                known = found.get((trial.digest, trial.fingerprint))
                if name.startswith(COMPACT) and known and (trial.finished_at or math.inf) < (known.finished_at or 0.0):
                    continue
                found[trial.digest, trial.fingerprint] = trial
        return list(found.values())

    def keep_trials(self) -> None:
        """Read the trials now and answer `trials` with them from then on: for a command that trains nothing."""
        self._kept = self.trials()

    def finished(self, statuses: Iterable[str] = ("completed", "diverged")) -> dict[tuple[str, str], Stored]:
        """Return the trials that need no more training, by digest and fingerprint."""
        return {
            (trial.digest, trial.fingerprint): trial
            for trial in self.trials()
            if trial.status in set(statuses) and self._is_whole(key(trial.digest, trial.fingerprint))
        }

    def curves(self, column: str) -> dict[str, dict[int, float]]:
        """Return a column of the epochs table by trial (``<digest>-<fingerprint>``) and epoch, finite values alone."""
        names = (self.folder / "epochs").names(".parquet")
        found: dict[str, dict[int, float]] = {}
        for name in sorted(names, key=lambda name: not name.startswith(COMPACT)):
            for row in self._rows("epochs", name, (*_KEYS, "epoch", column)):
                if row[column] is not None and math.isfinite(row[column]):
                    found.setdefault(key(row["digest"], row["fingerprint"]), {})[row["epoch"]] = row[column]
        return found

    def _rows(self, table: str, name: str, columns: Iterable[str], with_metrics: bool = False) -> list[dict[str, Any]]:
        """Return these columns of a file, and its metrics where asked for; null where the file lacks a column."""
        try:
            content = (self.folder / table).read(name)
            with open_parquet(io.BytesIO(content)) as file:
                own = file.schema_arrow
                wanted = [*columns, *(metric_columns(table, own) if with_metrics else ())]
                lacking = dict.fromkeys(set(wanted) - set(own.names))
                if lacking.keys() & set(_KEYS):
                    raise pa.ArrowInvalid("it has no column digest or fingerprint")
            rows = python_rows(read_within_budget(content, [name for name in wanted if name in own.names]))
        except StorageError:
            raise
        except (OSError, pa.ArrowException, StudyError) as error:
            self._note(f"{table}/{name}", str(error).split("\n")[0].removesuffix("."))
            return []
        return [lacking | row for row in rows]

    def _is_whole(self, name: str) -> bool:
        """Return whether a trial's own files of the other tables, where it has any, end as Parquet files do.

        Only local disks are checked: they may lose the end of a file in a crash, an object store has it whole or not.
        """
        if not self.folder.is_local:
            return True
        places = [f"{table}/{name}.parquet" for table in TABLES]
        paths = {place: Path(self.folder.root) / place for place in places}
        damaged = False
        for place, path in paths.items():
            try:
                damage = "" if not path.exists() or _ends_well(path) else "its end is missing"
            except StudyError as error:  # no regular file
                damage = str(error)
            if damage:
                damaged = True
                self._note(place, damage)
        return not damaged

    def _note(self, place: str, reason: str) -> None:
        self._damage[place] = f"{place} of {self.folder.url} cannot be read ({reason}): its cells count as missing"

    @property
    def checkpoints_url(self) -> str:
        """The folder of all checkpoints as a URL that is the same from every process."""
        folder = self.folder / "checkpoints"
        return str(folder.filesystem.unstrip_protocol(folder.root))

    @property
    def artifacts_url(self) -> str:
        """The folder of the files that training functions keep, as a URL that is the same from every process."""
        folder = self.folder / "artifacts"
        return str(folder.filesystem.unstrip_protocol(folder.root))

    @property
    def log_file(self) -> Path:
        """Where what Ray says is kept: beside the results, or with the user's caches where those are remote."""
        if self.folder.is_local:
            return Path(self.folder.root) / "ray.log"
        return cache_folder() / f"{self.folder.root.rsplit('/', 1)[-1]}-ray.log"

    def checkpoints(self, digest: str, fingerprint: str) -> Folder:
        """Return the folder of a trial's checkpoints."""
        return self.folder / f"checkpoints/{key(digest, fingerprint)}"


def _ends_well(path: Path) -> bool:
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4))
        return size > 12 and file.read(4) == b"PAR1"


def _stored(row: Mapping[str, Any]) -> Stored | None:
    """Return what a row of the trials table says; None where it is damaged, so that the cell is trained again."""
    texts = [row[name] for name in ("digest", "fingerprint", "status", "arm", "config")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(row["seed"], int):
        return None
    try:
        config = mapping_in(parse_json(row["config"], "config"), "config", "the trial config's keys")
    except StudyError:
        return None
    return Stored(
        **{name: row[name] for name in _OWN if name != "finished_at"},
        config=config,
        finished_at=row["finished_at"] if isinstance(row["finished_at"], float) else None,
        metrics={name: value for name, value in row.items() if name not in _COLUMNS},
    )


def arrow_table(
    table: str, rows: Sequence[Mapping[str, Any]], metrics: Iterable[str] = tuple(IMAGE_METRICS)
) -> pa.Table:
    """Return rows of a table of the store with a column for each of ``metrics``.

    A column that is neither in the schema nor a metric is our mistake (AssertionError).
    """
    schema = pa.schema([field.remove_metadata() for field in table_schema(table, metrics)])
    unknown = {column for row in rows for column in row} - set(schema.names)
    assert not unknown, f"{table} has no column {sorted(unknown)}"
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def parquet_bytes(
    table: str, rows: Sequence[Mapping[str, Any]], metrics: Iterable[str] = tuple(IMAGE_METRICS)
) -> bytes:
    """Return rows of a table of the store, as `arrow_table`, as a Parquet file."""
    return encoded(arrow_table(table, rows, metrics))


def encoded(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
