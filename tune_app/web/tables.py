"""Incremental reading of a table's Parquet files: names are listed, and only new or replaced files are read."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search_spaces.parquet_files import python_rows, read_within_budget
from search_spaces.store_schema import STATUSES, TRIALS
from tune_app.storage import Folder
from tune_app.web.metrics import NOT_METRICS

Stamp = tuple[Any, ...]
Row = dict[str, Any]
_THREADS = 4
_KEPT = (
    "digest", "fingerprint", "arm", "seed", "status", "epochs_planned", "epochs_trained", "best_epoch", "seconds",
    "gpus", "cpus", "node", "attempts", "started_at", "finished_at", "config", "levels", "history", "error",
    "device_name", "precision", "parameters", "log_lines", "run_id",
)  # fmt: skip
_NEEDED = ("digest", "fingerprint", "arm", "seed")
"""A row without one of these belongs to no cell."""
_NUMBERS = ("seconds", "gpus", "cpus")
_REPEATED = ("fingerprint", "arm", "status", "node", "levels", "history", "device_name", "precision", "run_id")
MANY_FILES = 200
"""After this many files the memory that reading them took is given back to the system."""
COMPACT = "compact-"
SETTLED_NANOSECONDS = 2_000_000_000
_PASSING: Stamp = ("passing",)
"""Stamp of a file that could not be read: unlike that of any file, so that it is read again."""


def stamps(folder: Folder, suffix: str = ".parquet") -> dict[str, Stamp]:
    """Return name -> what changes when a file is replaced: time and size, and on object stores the ETag."""
    if folder.is_local:
        try:
            with os.scandir(folder.root) as entries:
                found: dict[str, Stamp] = {}
                for one in entries:
                    with suppress(FileNotFoundError):  # merged into another file meanwhile
                        found |= {one.name: _stamp(one)} if _is_data(one, suffix) else {}
                return found
        except (FileNotFoundError, NotADirectoryError):
            return {}
    files = [(one["name"].rsplit("/", 1)[-1], one) for one in folder.entries() if one.get("type") == "file"]
    return {
        name: (one.get("size"), one.get("ETag"), str(one.get("LastModified") or one.get("created") or ""))
        for name, one in files
        if name.endswith(suffix) and not name.startswith(".")
    }


def _is_data(entry: os.DirEntry[str], suffix: str) -> bool:
    return entry.name.endswith(suffix) and not entry.name.startswith(".") and not entry.is_symlink()


def _stamp(entry: os.DirEntry[str]) -> Stamp:
    stat = entry.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _folder_stamp(folder: Folder) -> int | None:
    """Return what changes when a file is renamed into a local folder; None elsewhere, or right after a change.

    A store's files are replaced by renaming, never written in place. Within the resolution of the clock a second
    change could have the time of the first: so a time of a moment ago is not relied on.
    """
    if not folder.is_local:
        return None
    try:
        changed = Path(folder.root).stat().st_mtime_ns
    except OSError:
        return None
    return changed if time.time_ns() - changed > SETTLED_NANOSECONDS else None


def read_parquet(folder: Folder, name: str) -> pa.Table:
    """Return a file's rows.

    OSError where it cannot be read at the moment; StudyError where it is no regular file or would take too much
    memory, ArrowInvalid where it is damaged.
    """
    content = folder.read(name)
    try:
        return read_within_budget(content)
    except OSError as error:  # what pyarrow raises for some damaged files
        raise pa.ArrowInvalid(str(error)) from None


@dataclass
class Content:
    """What one file holds, as the table keeps it."""

    stamp: Stamp
    value: Any


class Table:
    """The files of one table of a store, kept in memory in the form that ``convert`` gives."""

    def __init__(self, folder: Folder, convert: Callable[[pa.Table], Any]) -> None:
        self.folder, self._convert = folder, convert
        self.files: dict[str, Content] = {}
        self.damaged: dict[str, Stamp] = {}
        self._listed: int | None = None
        self._lock = threading.Lock()

    def refresh(self) -> bool:
        """Read new and replaced files, forget removed ones; return whether anything changed."""
        with self._lock:
            listed = _folder_stamp(self.folder)
            if listed is not None and listed == self._listed:
                return False
            now = stamps(self.folder)
            known = {name: content.stamp for name, content in self.files.items()} | self.damaged
            new = [name for name, stamp in now.items() if known.get(name) != stamp]
            places = [now[name] for name in new]
            with ThreadPoolExecutor(_THREADS) as threads:
                read = list(threads.map(self._read, new, places) if len(new) > 8 else map(self._read, new, places))
            kept = now.keys() - set(new)
            files = {name: content for name, content in self.files.items() if name in kept}
            damaged = {name: stamp for name, stamp in self.damaged.items() if name in kept}
            for name, found in zip(new, read, strict=True):
                if isinstance(found, Content):
                    files[name] = found
                else:
                    damaged[name] = found
            changed = any(name in files for name in new) or files.keys() != self.files.keys()
            changed |= damaged.keys() != self.damaged.keys()
            self.files, self.damaged = files, damaged
            self._listed = None if self.has_passing else listed
            if len(new) > MANY_FILES:
                give_back_memory()
            return changed

    @property
    def has_passing(self) -> bool:
        """Whether a file could not be read for a reason that may pass, such as too many open files."""
        return _PASSING in self.damaged.values()

    def _read(self, name: str, stamp: Stamp) -> Content | Stamp:
        """Return a file's content; where there is none, the stamp to remember it by."""
        try:
            return Content(stamp, self._convert(read_parquet(self.folder, name)))
        except OSError:  # also: gone since the folder was listed, merged into another file
            return _PASSING
        except Exception:  # whatever a file from elsewhere leads to: it is named as damaged
            return stamp

    def ordered(self) -> list[tuple[str, Any]]:
        """Return the files' names and content, compacted files first: a trial's own file counts before these."""
        names = sorted(self.files, key=lambda name: (not name.startswith(COMPACT), name))
        return [(name, self.files[name].value) for name in names]


def trial_rows(table: pa.Table) -> list[Row]:
    """Return the rows of a trials file, without what only the report needs.

    Rows that belong to no cell or have an unknown status are left out; ArrowInvalid for a file without these columns.
    """
    absent = {*_NEEDED, "status"} - set(table.column_names)
    if absent:
        raise pa.ArrowInvalid(f"it has no column {min(absent)}")
    names = metric_columns(table.schema)
    rows: list[Row] = python_rows(pa.table({name: _column(table, name) for name in _KEPT}))
    values = zip(*(table[name].to_pylist() for name in names), strict=True) if names else ((),) * len(rows)
    for row, measured in zip(rows, values, strict=True):
        row["metrics"] = {
            name: value for name, value in zip(names, measured, strict=True) if value is not None and isfinite(value)
        }
        for name in _NUMBERS:
            row[name] = row[name] if row[name] is not None and isfinite(row[name]) else None
        for name in _REPEATED:
            if row[name] is not None:
                row[name] = sys.intern(row[name])
    return [row for row in rows if row["status"] in STATUSES and all(row[name] is not None for name in _NEEDED)]


def _column(table: pa.Table, name: str) -> pa.Array | pa.ChunkedArray:
    """Return a column in its type of the schema, nulls where it is absent; ArrowInvalid for one of another kind."""
    kind = TRIALS.field(name).type
    if name not in table.column_names:
        return pa.nulls(table.num_rows, kind)
    return table[name] if table[name].type == kind else table[name].cast(kind)


def metric_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the columns of measurements."""
    return [f.name for f in schema if pa.types.is_floating(f.type) and f.name not in NOT_METRICS]


@dataclass(frozen=True)
class EpochRows:
    """The epochs of one trial: epoch numbers, and a row of ``values`` for each of ``names`` (NaN where it has none)."""

    epochs: NDArray[np.int32]
    names: tuple[str, ...]
    values: NDArray[np.float32]

    def metric(self, name: str) -> NDArray[np.float32]:
        """Return the values of a metric; ValueError where there is none of that name."""
        found: NDArray[np.float32] = self.values[self.names.index(name)]
        return found


def epoch_rows(table: pa.Table) -> dict[str, EpochRows]:
    """Return the epochs of each trial in a file, by ``<digest>-<fingerprint>``, in order of epochs."""
    if not table.num_rows:
        return {}
    digests, prints = table["digest"].to_pylist(), table["fingerprint"].to_pylist()
    keys = np.array([f"{digest}-{print_}" for digest, print_ in zip(digests, prints, strict=True)])
    epochs = np.asarray(table["epoch"].to_numpy(), dtype=np.int32)
    order = np.lexsort((epochs, keys))
    keys, epochs = keys[order], epochs[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    ends = np.r_[starts[1:], len(keys)]
    names = _same(tuple(metric_columns(table.schema)))
    values = np.empty((len(names), len(keys)), dtype=np.float32)
    for place, name in enumerate(names):
        values[place] = np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float32)[order]
    return {
        str(keys[a]): EpochRows(epochs[a:b], names, values[:, a:b])
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
    }


@lru_cache(maxsize=64)
def _same(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return one and the same tuple for equal ones: each trial refers to it."""
    return tuple(map(sys.intern, names))


def give_back_memory() -> None:
    """Return the memory that is no longer used to the system, where its C library can."""
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
