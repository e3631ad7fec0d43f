"""The store's files as Arrow tables: every file that can be read, and a sentence for each kind of fault."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from search_spaces._yaml import MAX_STORED_BYTES
from search_spaces.errors import StudyError
from search_spaces.files import open_regular, url_scheme
from search_spaces.parquet_files import Budget, OverBudgetError, open_parquet, read_columns
from search_spaces.store_schema import TABLES, metric_columns, table_schema

FILE = "_file"
"""Column that `read_table` adds: index of the file that a row came from; below 0 for a compacted file."""
COMPACT = "compact-"
REQUIRED = frozenset(field.name for schema in TABLES.values() for field in schema if not field.nullable)
"""Columns that every file of its table has; one of the others may be absent: then it is null."""
_THREADS = 4
_BATCH = 100
_TRIES = 5
"""Each time only because a run changed the folder while it was read."""


@dataclass
class Problems:
    """What could not be read, collected so that a thousand files with one fault make one sentence."""

    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, sentence: str, place: str = "") -> None:
        """Add ``sentence`` once, with the places that it is about."""
        self.places.setdefault(sentence, []).append(place)

    def extend(self, others: Problems) -> None:
        """Add all of ``others``."""
        for sentence, places in others.places.items():
            self.places.setdefault(sentence, []).extend(places)

    def sentences(self) -> tuple[str, ...]:
        """Return one sentence for each problem."""
        return tuple(_with_places(sentence, places) for sentence, places in self.places.items())


def _with_places(sentence: str, places: list[str]) -> str:
    named = list(dict.fromkeys(filter(None, places)))
    if not named:
        return sentence
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return f"{sentence} ({', '.join(named[:3])}{more})"


def open_filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem and the path in it: a folder, ``file://``, or a URL of an object store (``s3://``)."""
    if url_scheme(path) in ("", "file"):
        return pafs.LocalFileSystem(), path.removeprefix("file://")
    try:
        filesystem, root = fsspec.core.url_to_fs(path, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise StudyError(
            f"{path}: cannot be opened: {error}; for s3:// install the extra: pip install 'tune-app[s3]'"
        ) from None
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), root


def is_there(filesystem: pafs.FileSystem, path: str) -> bool:
    """Return whether there is a file or folder at ``path``."""
    return bool(filesystem.get_file_info(path).type != pafs.FileType.NotFound)


def read_document(filesystem: pafs.FileSystem, root: str, name: str, problems: Problems, optional: bool = False) -> str:
    """Return the text of a file such as study.yaml, "" with a problem where it is missing or too large.

    One that is ``optional`` may be missing. Raises StudyError for a symbolic link, a named pipe or a device: reading it
    may never end.
    """
    if not is_there(filesystem, f"{root}/{name}"):
        if not optional:
            problems.add(f"{name} is missing")
        return ""
    if isinstance(filesystem, pafs.LocalFileSystem):
        with open_regular(f"{root}/{name}") as file:
            content = file.read(MAX_STORED_BYTES + 1)
    else:
        with filesystem.open_input_stream(f"{root}/{name}") as stream:
            content = stream.read(MAX_STORED_BYTES + 1)
    if len(content) > MAX_STORED_BYTES:
        problems.add(f"{name} cannot be read: it is larger than {MAX_STORED_BYTES:,} bytes")
        return ""
    return str(content, "utf-8", "replace")


def read_table(
    filesystem: pafs.FileSystem, root: str, name: str, metrics: Iterable[str], problems: Problems
) -> pa.Table:
    """Return the rows of all files of a table, compacted files first, plus ``FILE``.

    The columns are the schema's with one for each of ``metrics``, then each further column of floats that a file of
    ``trials`` or ``epochs`` has: a metric too. A column that a file lacks is null in its rows. Files under a temporary
    name (a leading dot, or ending in .tmp) are skipped: another process is writing them. Where a file has gone since
    the folder was listed, a run has merged it into another: the folder is listed and read again.
    """
    schema = pa.schema([f.with_nullable(True) for f in table_schema(name, metrics)])
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError, NotADirectoryError):  # the latter: pyarrow, of a folder that came meanwhile
            return _read_files(filesystem, f"{root}/{name}", name, schema, problems)
    return _read_files(filesystem, f"{root}/{name}", name, schema, problems)


def _read_files(filesystem: pafs.FileSystem, folder: str, name: str, schema: pa.Schema, problems: Problems) -> pa.Table:
    """Return the rows of all files of a folder; FileNotFoundError where one has gone since the folder was listed."""
    paths, budget = _files(filesystem, folder, problems)
    batches = [range(start, min(start + _BATCH, len(paths))) for start in range(0, len(paths), _BATCH)]
    compacted = sum(path.rsplit("/", 1)[-1].startswith(COMPACT) for path in paths)

    def read(batch: range) -> tuple[pa.Table, Problems]:
        return _read_batch(filesystem, paths, batch, name, schema, compacted, budget)

    with ThreadPoolExecutor(_THREADS) as threads:
        found = list(threads.map(read, batches))
    for _, own in found:
        problems.extend(own)
    empty = schema.append(pa.field(FILE, pa.int32())).empty_table()
    return pa.concat_tables([empty, *(table for table, _ in found)], promote_options="default")


def _read_batch(
    filesystem: pafs.FileSystem,
    paths: list[str],
    batch: range,
    name: str,
    schema: pa.Schema,
    compacted: int,
    budget: Budget,
) -> tuple[pa.Table, Problems]:
    """Return the rows of some files as one table in one piece, which takes far less memory than a piece per file."""
    tables, sources, problems = [schema.empty_table()], [np.zeros(0, np.int32)], Problems()
    for index in batch:
        place = "/".join(paths[index].rsplit("/", 2)[-2:])
        table = _read_file(filesystem, paths[index], name, schema, budget, alone=len(paths) == 1)
        if isinstance(table, str):
            problems.add(f"a file cannot be read and was left out: {table}", place)
            continue
        tables.append(_conform(table, name, schema, place, problems))
        sources.append(np.full(table.num_rows, index - compacted, np.int32))
    rows = pa.concat_tables(tables, promote_options="default")
    rows = rows.combine_chunks() if len(batch) > 1 else rows
    return rows.append_column(FILE, pa.array(np.concatenate(sources))), problems


def _files(filesystem: pafs.FileSystem, folder: str, problems: Problems) -> tuple[list[str], Budget]:
    """Return the paths of a table's files, compacted ones first, and the budget of memory that their sizes allow."""
    found = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    found = [info for info in found if info.base_name.endswith(".parquet") and not info.base_name.startswith(".")]
    sizes: dict[str, int] = {}
    for info in found:
        if info.type == pafs.FileType.File and not _is_link(filesystem, info.path):
            sizes[info.base_name] = info.size or 0
        else:
            place = f"{folder.rsplit('/', 1)[-1]}/{info.base_name}"
            problems.add("a file is not a regular file and was left out", place)
    names = sorted(sizes, key=lambda name: (not name.startswith(COMPACT), name))
    return [f"{folder}/{name}" for name in names], Budget.of_files(sum(sizes.values()))


def _is_link(filesystem: pafs.FileSystem, path: str) -> bool:
    return isinstance(filesystem, pafs.LocalFileSystem) and Path(path).is_symlink()


def _read_file(
    filesystem: pafs.FileSystem, path: str, name: str, schema: pa.Schema, budget: Budget, alone: bool
) -> pa.Table | str:
    """Return the schema's columns and the metrics of a file, or why it cannot be read; FileNotFoundError: it has gone.

    A file that is alone is read by several threads itself.
    """
    try:
        source = path if isinstance(filesystem, pafs.LocalFileSystem) else filesystem.open_input_file(path)
        with open_parquet(source) as file:
            wanted = {*schema.names, *metric_columns(name, file.schema_arrow)}
            return read_columns(source, file, budget, wanted, alone, len(schema))
    except OverBudgetError as error:
        return str(error)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        return str(error).split("\n")[0].split(". ")[0].removesuffix(".")


def _conform(table: pa.Table, name: str, schema: pa.Schema, place: str, problems: Problems) -> pa.Table:
    """Return the table with the schema's columns and its own further metrics, float64; other columns are left out."""
    own = table.schema
    if own.names == schema.names and own.types == schema.types:
        return pa.Table.from_arrays(table.columns, schema=schema)
    further = [pa.field(metric, pa.float64()) for metric in metric_columns(name, own) if metric not in schema.names]
    whole = pa.schema([*schema, *further])
    return pa.Table.from_arrays([_column(table, wanted, place, problems) for wanted in whole], schema=whole)


def _column(table: pa.Table, wanted: pa.Field, place: str, problems: Problems) -> pa.Array | pa.ChunkedArray:
    if wanted.name not in table.schema.names:
        if wanted.name in REQUIRED:
            problems.add(f"column `{wanted.name}` is missing and was read as empty", place)
        return pa.nulls(table.num_rows, wanted.type)
    column = table.column(wanted.name)
    try:
        return column if column.type == wanted.type else column.cast(wanted.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        problems.add(f"column `{wanted.name}` is {column.type}, not {wanted.type}, and was read as empty", place)
        return pa.nulls(table.num_rows, wanted.type)


def trial_keys(table: pa.Table) -> pa.ChunkedArray:
    """Return ``<digest>-<fingerprint>`` for each row; null where either is."""
    return pc.binary_join_element_wise(table["digest"], table["fingerprint"], "-")


def positions(table: pa.Table, keys: Iterable[str]) -> np.ndarray:
    """Return for each row the position of its trial in ``keys``, int64; -1 where it has none."""
    found = pc.index_in(trial_keys(table), value_set=pa.array(list(keys), pa.string()))
    return np.asarray(pc.fill_null(found, -1).to_numpy(), dtype=np.int64)


def json_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return columns by dotted path, None where a row has no such key."""
    columns: dict[str, list[Any]] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        if any(isinstance(value, dict) for value in values):
            inner = json_columns([value if isinstance(value, dict) else {} for value in values])
            columns |= {f"{key}.{name}": found for name, found in inner.items()}
        else:
            has_lists = any(isinstance(value, list) for value in values)
            columns[key] = [_plain(value) for value in values] if has_lists else values
    return columns


def _plain(value: Any) -> Any:
    """Return lists as tuples, so that a level can be grouped by."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value
