"""Read Parquet files from outside within a budget of memory: a small file may promise, or unpack to, a great deal.

What a file takes in memory is charged to a `Budget` before it is read: every value and every byte that the footer
names and, where repeated text is stored once (dictionary encoding), the text as often as it is repeated.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search_spaces.errors import StudyError

LEAST_BYTES = 256 * 1024 * 1024
BYTES_PER_BYTE = 64
"""Memory allowed for each byte on disk; a store of real trials takes less than a third of that."""
_VALUE_BYTES = 16
_LIMITS = {"thrift_string_size_limit": 16_000_000, "thrift_container_size_limit": 1_000_000}


class OverBudgetError(StudyError):
    """A Parquet file that would take more memory than files of its size may."""


@dataclass
class Budget:
    """Bytes of memory that the files of one table may take together; shared by threads."""

    left: int
    _lock: Lock = field(default_factory=Lock, repr=False)

    @classmethod
    def of_files(cls, file_bytes: int) -> Budget:
        """Return the budget for files that have so many bytes on disk."""
        return cls(max(LEAST_BYTES, BYTES_PER_BYTE * file_bytes))

    def take(self, amount: int) -> None:
        """Charge ``amount`` bytes; OverBudgetError where fewer are left, which then stay."""
        with self._lock:
            if amount > self.left:
                raise OverBudgetError(
                    f"it would take {amount:,} bytes of memory, but {max(0, self.left):,} are left for files of this "
                    "size: it is damaged or not a store's file"
                )
            self.left -= amount


def read_within_budget(content: bytes, columns: list[str] | None = None) -> pa.Table:
    """Return columns (all of them if None) of one Parquet file in memory.

    Raises KeyError for an absent column, OverBudgetError, and Arrow's errors for a damaged file.
    """
    with open_parquet(io.BytesIO(content)) as file:
        wanted = file.schema_arrow.names if columns is None else columns
        absent = set(wanted) - set(file.schema_arrow.names)
        if absent:
            raise KeyError(*sorted(absent))
        return read_columns(io.BytesIO(content), file, Budget.of_files(len(content)), wanted)


def open_parquet(source: Any, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file whose footer may have no more than a limited size.

    Raises Arrow's errors for a damaged file, and for one that has two columns of the same name.
    """
    file = pq.ParquetFile(source, **_LIMITS, **options)
    repeated = [name for name, count in Counter(file.schema_arrow.names).items() if count > 1]
    if repeated:
        file.close()
        raise pa.ArrowInvalid(f"it has several columns named {repeated[0]!r}")
    return file


def read_columns(
    source: Any, file: pq.ParquetFile, budget: Budget, columns: Collection[str], threads: bool = False, width: int = 0
) -> pa.Table:
    """Return those of ``columns`` that an opened file has; OverBudgetError where that would take too much memory.

    ``source`` is what the file was opened from and is opened once more where text has to be measured before it is
    unpacked. ``width`` is the least number of columns to charge for, where a caller adds absent ones.
    """
    wanted = [name for name in file.schema_arrow.names if name in columns]
    chunks = _chunks(file, wanted)
    values = sum(chunk.num_values for _, chunk, _ in chunks)
    fixed = sum(chunk.num_values * max(0, length) for _, chunk, length in chunks)
    encoded = sum(chunk.total_uncompressed_size for _, chunk, _ in chunks)
    budget.take(_VALUE_BYTES * max(values, file.metadata.num_rows * width) + fixed + encoded)
    text = [(path, chunk) for path, chunk, _ in chunks if chunk.physical_type == "BYTE_ARRAY"]
    worst = sum(chunk.num_values * chunk.total_uncompressed_size for _, chunk in text)
    if worst <= min(budget.left, LEAST_BYTES):
        return file.read(wanted, use_threads=threads)
    with open_parquet(source, read_dictionary=sorted({path for path, _ in text})) as packed:
        table = packed.read(wanted, use_threads=threads)
    budget.take(sum(_unpacked_bytes(chunk) for column in table.columns for chunk in column.chunks))
    return table.cast(pa.schema([field.with_type(_unpacked(field.type)) for field in table.schema]))


def python_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries; a time is its seconds since 1970, a float.

    Raises ArrowInvalid for a time that microseconds in 64 bits cannot hold. Arrow's own conversion of a time imports
    pandas, which takes a fifth of the time of `tune-app plan`.
    """
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    for name in times:
        micros = pc.CastOptions(pa.timestamp("us", tz=table.schema.field(name).type.tz), allow_time_truncate=True)
        whole = table[name].cast(options=micros).cast(pa.int64())
        table = table.set_column(table.schema.get_field_index(name), name, whole)
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        row.update({name: row[name] / 1e6 for name in times if row[name] is not None})
    return rows


def _chunks(file: pq.ParquetFile, wanted: Collection[str]) -> list[tuple[str, Any, int]]:
    """Return path, metadata and fixed length (0: none) of each column chunk of the wanted columns."""
    footer, found = file.metadata, []
    for column in range(footer.num_columns):
        described = file.schema.column(column)
        if described.path.split(".", 1)[0] not in wanted:
            continue
        length = described.length if described.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0
        found += [
            (described.path, footer.row_group(group).column(column), length) for group in range(footer.num_row_groups)
        ]
    return found


def _unpacked_bytes(array: pa.Array) -> int:
    """Return the bytes of text in an array once each repetition has a copy of its own."""
    if pa.types.is_dictionary(array.type):
        if not (pa.types.is_string(array.type.value_type) or pa.types.is_binary(array.type.value_type)):
            return 0
        lengths = pc.binary_length(array.dictionary).cast(pa.int64())
        return int(pc.sum(lengths.take(array.indices.cast(pa.int64()))).as_py() or 0)
    if pa.types.is_list(array.type):
        return _unpacked_bytes(array.flatten())
    if pa.types.is_struct(array.type):
        return sum(_unpacked_bytes(inner) for inner in array.flatten())
    return 0


def _unpacked(kind: pa.DataType) -> pa.DataType:
    """Return the type without dictionaries; a type that no table of a store has stays as it is."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    return pa.list_(kind.value_field.with_type(_unpacked(kind.value_type))) if pa.types.is_list(kind) else kind
