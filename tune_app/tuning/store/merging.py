"""Merge the files of trials into one file, so that a large store is read in seconds."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from search_spaces.errors import StudyError
from search_spaces.parquet_files import OverBudgetError, read_within_budget
from search_spaces.store_schema import TABLES, metric_columns, table_schema
from tune_app.storage import Folder

COMPACT = "compact-"
"""Prefix of the names of merged files."""
MERGED = ("completed", "diverged", "pruned")
"""Statuses of the trials that are merged: a failed trial is trained again, and its file replaced."""
IN_ORDER = sorted(TABLES, key=lambda name: name == "trials")
"""Tables in the order in which they are merged: a trial's own row last."""


def merge_files(folder: Folder, table: str, parts: Mapping[str, pa.Table]) -> None:
    """Replace files of a table, of any schema version and any metrics, by one; an absent column is null.

    ``parts`` has their contents by name. The merged file is there whole before the others go. So a reader sees every
    row at every moment, at worst twice, which readers count once. Raises StudyError for a damaged file; then nothing is
    merged.
    """
    metrics = dict.fromkeys(name for part in parts.values() for name in metric_columns(table, part.schema))
    schema = pa.schema([field.remove_metadata().with_nullable(True) for field in table_schema(table, metrics)])
    conformed = [_conformed(f"{folder.url}/{name}", part, schema) for name, part in parts.items()]
    sink = io.BytesIO()
    pq.write_table(pa.concat_tables(conformed), sink, compression="zstd")
    identity = hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
    folder.write(f"{COMPACT}{identity}.parquet", sink.getvalue())
    folder.remove_files(list(parts))


def read_part(folder: Folder, name: str) -> pa.Table:
    """Return a file of a table for `merge_files`; StudyError where it is damaged."""
    place = f"{folder.url}/{name}"
    try:
        table = read_within_budget(folder.read(name))
        missing = {"digest", "fingerprint"} - set(table.column_names)
        if not missing:
            return table
        detail = f"it has no column {min(missing)}"
    except (pa.ArrowException, OSError, OverBudgetError) as error:
        detail = str(error).splitlines()[0]
    raise _damaged(place, detail)


def _conformed(place: str, part: pa.Table, schema: pa.Schema) -> pa.Table:
    if part.schema.names == schema.names and part.schema.types == schema.types:
        return part.cast(schema)
    columns = []
    for field in schema:
        try:
            column = part[field.name].cast(field.type) if field.name in part.column_names else None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            found = part[field.name].type
            raise _damaged(place, f"its column {field.name} is {found}, not {field.type}") from None
        columns.append(pa.nulls(len(part), field.type) if column is None else column)
    return pa.Table.from_arrays(columns, schema=schema)


def _damaged(place: str, detail: str) -> StudyError:
    return StudyError(
        f"{place}: is damaged ({detail}), so nothing was merged: remove the files of that name and run the study again"
    )
