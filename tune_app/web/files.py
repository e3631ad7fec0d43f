"""The files of a study that may be fetched: its documents, tables (as Parquet or CSV) and code archives."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from search_spaces.errors import StudyError
from search_spaces.parquet_files import python_rows
from search_spaces.store_schema import TABLES, metric_columns
from tune_app.exports.csv_files import harmless
from tune_app.storage import Folder, StorageError
from tune_app.web.current import one_row_per_trial
from tune_app.web.index import StudyIndex
from tune_app.web.models import StoredFile
from tune_app.web.problems import ProblemError
from tune_app.web.tables import COMPACT, read_parquet, stamps

DOCUMENTS = ("study.yaml", "environment.json", "live.json")
_TABLE = re.compile(rf"({'|'.join(TABLES)})\.(parquet|csv)")
_PART = re.compile(rf"({'|'.join(TABLES)}|code)/([A-Za-z0-9][A-Za-z0-9_-]{{0,200}})\.(parquet|zip)")
MEDIA_TYPES = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8", "zip": "application/zip"}
MAX_LISTED = 20_000
_TRIES = 5
"""Each time only because a run merged files while they were read."""
_IDENTITY = ("digest", "fingerprint", "finished_at")


def listed(study: StudyIndex) -> list[StoredFile]:
    """Return the files of a study: whole tables first, then documents, code archives and the parts of tables."""
    found = []
    parts = []
    for table in TABLES:
        names = stamps(study.folder / table)
        if names:
            found += [StoredFile(name=f"{table}.{kind}", size=None) for kind in ("parquet", "csv")]
        parts += [_stored(table, name, stamp) for name, stamp in names.items()]
    documents = [StoredFile(name=name, size=None) for name in DOCUMENTS if study.folder.exists(name)]
    code = [_stored("code", name, stamp) for name, stamp in stamps(study.folder / "code", ".zip").items()]
    allowed = [part for part in [*code, *sorted(parts, key=lambda p: p.name)] if _PART.fullmatch(part.name)]
    return [*documents, *found, *allowed][:MAX_LISTED]


def _stored(table: str, name: str, stamp: tuple[Any, ...]) -> StoredFile:
    size = next((part for part in stamp[:2][::-1] if isinstance(part, int)), None)
    return StoredFile(name=f"{table}/{name}", size=size)


def content(study: StudyIndex, name: str) -> tuple[bytes, str]:
    """Return a file and its media type.

    A 404 problem where it is none of the study's files, 409 for a table with a damaged file, 503 where a file cannot be
    read at the moment; StorageError where a remote store does not answer.
    """
    try:
        return _content(study, name)
    except StorageError:
        raise
    except OSError as error:  # such as too many open files
        raise ProblemError(503, f"{name} cannot be read at the moment: {error}; ask for it again") from None


def _content(study: StudyIndex, name: str) -> tuple[bytes, str]:
    if name in DOCUMENTS:
        return _read(study.folder, name), "text/plain; charset=utf-8"
    if match := _TABLE.fullmatch(name):
        return _whole(study, match[1], match[2]), MEDIA_TYPES[match[2]]
    if (match := _PART.fullmatch(name)) and (match[3] == "zip") == (match[1] == "code"):
        return _read(study.folder / match[1], f"{match[2]}.{match[3]}"), MEDIA_TYPES[match[3]]
    raise ProblemError(404, "there is no such file; the list of files is at .../files")


def _read(folder: Folder, name: str) -> bytes:
    """Return a file of a folder, unless it is a link that leads somewhere else."""
    if folder.is_local:
        path = Path(folder.path(name))
        if path.is_symlink() or path.parent.is_symlink():
            raise ProblemError(404, "there is no such file; the list of files is at .../files")
    try:
        return folder.read(name)
    except (FileNotFoundError, NotADirectoryError):
        raise ProblemError(404, "there is no such file; the list of files is at .../files") from None


def _whole(study: StudyIndex, table: str, kind: str) -> bytes:
    parts = _parts(study.folder / table, table)
    if not parts:
        raise ProblemError(404, f"the study has no rows in table {table}")
    whole = pa.concat_tables([part for _, part in parts], promote_options="permissive")
    whole = whole.take(_one_for_each_trial(parts)) if table == "trials" else _of_the_trials(whole, table, study)
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(whole, sink, compression="zstd")
        return sink.getvalue()
    _write_csv(whole, sink)
    return sink.getvalue()


def _parts(folder: Folder, table: str) -> list[tuple[str, pa.Table]]:
    """Return name and rows of each file of a table, compacted ones first.

    Where a file has gone since the folder was listed, a run has merged it into another: all is listed and read again.
    """
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError):
            return _parts_now(folder, table)
    return _parts_now(folder, table)


def _parts_now(folder: Folder, table: str) -> list[tuple[str, pa.Table]]:
    names = sorted(stamps(folder), key=lambda name: (not name.startswith(COMPACT), name))
    return [(name, _part(folder, table, name)) for name in names]


def _part(folder: Folder, table: str, name: str) -> pa.Table:
    """Return the table's columns that a file has, in their types; a 409 problem for a damaged file."""
    try:
        found = read_parquet(folder, name)
        absent = {"digest", "fingerprint"} - set(found.column_names)
        if absent:
            raise pa.ArrowInvalid(f"it has no column {min(absent)}")
        schema = TABLES[table]
        metrics = metric_columns(table, found.schema)
        names = [column for column in found.column_names if column in schema.names or column in metrics]
        kinds = [pa.float64() if column in metrics else schema.field(column).type for column in names]
        columns = [found[column].cast(kind) for column, kind in zip(names, kinds, strict=True)]
        return pa.Table.from_arrays(columns, names)
    except StorageError:
        raise
    except (pa.ArrowException, StudyError) as error:
        reason = str(error).splitlines()[0].removesuffix(".")
        raise ProblemError(
            409,
            f"{table}/{name} is damaged ({reason}), so the table cannot be put together: remove the file and run the "
            "study again, or fetch the other files of the table one by one",
        ) from None


def _one_for_each_trial(parts: Sequence[tuple[str, pa.Table]]) -> list[int]:
    """Return the places of the rows that count for their trials, by the rule of the study's pages."""
    rows, start = [], 0
    for name, part in parts:
        known = python_rows(part.select([column for column in _IDENTITY if column in part.column_names]))
        empty = dict.fromkeys(_IDENTITY)
        rows.append((name, [{**empty, **row, "place": start + at} for at, row in enumerate(known)]))
        start += len(part)
    return sorted(row["place"] for row in one_row_per_trial(rows).values())


def _of_the_trials(whole: pa.Table, table: str, study: StudyIndex) -> pa.Table:
    """Return each row once, that of the trial's own file, without rows of another run than the trial's own row."""
    if "run_id" in whole.column_names:
        study.refresh(0.0)  # a trial's own row is written last
        runs = {key: row["run_id"] for key, row in study.trials.items()}
        keys = pc.binary_join_element_wise(whole["digest"], whole["fingerprint"], "-")
        places = pc.index_in(keys, value_set=pa.array(list(runs), pa.string()))
        differs = pc.not_equal(whole["run_id"], pc.take(pa.array(list(runs.values()), pa.string()), places))
        whole = whole.filter(pc.invert(pc.fill_null(differs, False)))
    identity = [field.name for field in TABLES[table] if not field.nullable and field.name in whole.column_names]
    placed = whole.append_column("_place", pa.array(range(len(whole)), pa.int64()))
    last = placed.group_by(identity).aggregate([("_place", "max")])["_place_max"]
    return whole.take(last.take(pc.sort_indices(last)))


def _write_csv(table: pa.Table, sink: io.BytesIO) -> None:
    """Write CSV, bytes in hexadecimal; a text that a spreadsheet would execute as a formula gets a leading quote."""
    flat = [f.name for f in table.schema if not pa.types.is_nested(f.type)]
    table = table.select(flat)
    for place, column in enumerate(table.schema):
        if pa.types.is_binary(column.type):
            digits = [value.hex() if value is not None else None for value in table[column.name].to_pylist()]
            table = table.set_column(place, column.name, pa.array(digits, pa.string()))
        elif pa.types.is_string(column.type):
            values = [value and harmless(value) for value in table[column.name].to_pylist()]
            table = table.set_column(place, column.name, pa.array(values, pa.string()))
    pacsv.write_csv(table, sink)
