"""Compaction: the per-trial files of a store merged, so that a large one is read in seconds."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from search_spaces.errors import StudyError
from search_spaces.parquet_files import OverBudgetError, read_within_budget
from search_spaces.store_schema import TABLES, metric_columns, table_schema
from tune_app.storage import Folder
from tune_app.tuning.store.writer import COMPACT, ResultsStore

TRIALS_PER_FILE = 10_000


def compact(store: ResultsStore) -> int:
    """Merge the files of trials that need no more training into ``compact-*.parquet``, and return how many trials.

    A merged file is there whole before the files it replaces go, the other tables' before the trials'. So a reader sees
    every row at every moment, at worst twice, which readers count once. The caller holds the store.
    """
    done = [
        f"{digest}-{fingerprint}.parquet" for digest, fingerprint in store.finished(("completed", "diverged", "pruned"))
    ]
    for table in sorted(TABLES, key=lambda name: name == "trials"):
        folder = store.folder / table
        here = sorted(set(folder.names(".parquet")).intersection(done))
        merged = len(here)
        for start in range(0, len(here), TRIALS_PER_FILE):
            _merge(folder, table, here[start : start + TRIALS_PER_FILE])
    return merged


def _merge(folder: Folder, table: str, names: Sequence[str]) -> None:
    """Merge files of any schema version and any metrics: a column that one of them lacks is null in its rows."""
    parts = [_read(folder, name) for name in names]
    metrics = dict.fromkeys(name for part in parts for name in metric_columns(table, part.schema))
    schema = pa.schema([field.remove_metadata().with_nullable(True) for field in table_schema(table, metrics)])
    sink = io.BytesIO()
    pq.write_table(pa.concat_tables([_conformed(part, schema) for part in parts]), sink, compression="zstd")
    identity = hashlib.sha256("".join(names).encode()).hexdigest()[:16]
    folder.write(f"{COMPACT}{identity}.parquet", sink.getvalue())
    folder.remove_files(names)


def _read(folder: Folder, name: str) -> pa.Table:
    content = folder.read(name)
    try:
        table = read_within_budget(content)
        missing = {"digest", "fingerprint"} - set(table.column_names)
        if not missing:
            return table
        detail = f"it has no column {min(missing)}"
    except (pa.ArrowException, OSError, OverBudgetError) as error:
        detail = str(error).splitlines()[0]
    raise StudyError(
        f"{folder.url}/{name}: is damaged ({detail}), so nothing was merged: remove the files of that name and run the "
        "study again"
    )


def _conformed(part: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        part[field.name].cast(field.type) if field.name in part.column_names else pa.nulls(len(part), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
