"""The files of a study that may be fetched: its documents, tables (as Parquet or CSV) and code archives."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from search_spaces.errors import StudyError
from search_spaces.store_schema import TABLES
from tune_app.exports.csv_files import harmless
from tune_app.storage import Folder
from tune_app.web.index import StudyIndex
from tune_app.web.models import StoredFile
from tune_app.web.problems import ProblemError
from tune_app.web.tables import read_parquet, stamps

DOCUMENTS = ("study.yaml", "environment.json", "live.json")
_TABLE = re.compile(rf"({'|'.join(TABLES)})\.(parquet|csv)")
_PART = re.compile(rf"({'|'.join(TABLES)}|code)/([A-Za-z0-9][A-Za-z0-9_-]{{0,200}})\.(parquet|zip)")
MEDIA_TYPES = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8", "zip": "application/zip"}
MAX_LISTED = 20_000


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
    """Return a file and its media type; a 404 problem where it is none of the study's files."""
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
    folder = study.folder / table
    tables = []
    for name in sorted(stamps(folder), key=lambda name: (not name.startswith("compact-"), name)):
        try:
            tables.append(read_parquet(folder, name))
        except (pa.ArrowException, StudyError, OSError):
            continue
    if not tables:
        raise ProblemError(404, f"the study has no rows in table {table}")
    whole = pa.concat_tables(tables, promote_options="permissive")
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(whole, sink, compression="zstd")
        return sink.getvalue()
    _write_csv(whole, sink)
    return sink.getvalue()


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
