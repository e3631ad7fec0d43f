"""Parquet files from outside: what unpacks to more memory than its size allows is refused before it is read."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from search_spaces import parquet_files
from search_spaces.parquet_files import (
    Budget,
    OverBudgetError,
    open_parquet,
    python_rows,
    read_columns,
    read_within_budget,
)


def written(**columns: pa.Array) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def refused(content: bytes, column: str = "a") -> bool:
    before = pa.total_allocated_bytes()
    with pytest.raises(OverBudgetError, match=r"would take [\d,]+ bytes of memory, but"):
        read_within_budget(content, [column])
    return pa.total_allocated_bytes() - before < 50_000_000


def test_real_tables_come_back_as_they_were() -> None:
    table = {
        "a": pa.array(["x", None, "y"]),
        "n": pa.array([1.0, 2.0, None]),
        "l": pa.array([["cat", "dog"], None, []]),
    }
    read = read_within_budget(written(**table), ["a", "n", "l"])
    assert read.to_pydict() == {name: column.to_pylist() for name, column in table.items()}


def test_text_that_is_stored_once_and_repeated_is_charged_as_often_as_it_is_repeated() -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 1_000_000]))
    content = written(a=text)
    assert len(content) < 1_000_000
    assert refused(content)


def test_repeated_text_in_lists_is_charged_too() -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 1_000_000]))
    assert refused(written(a=pa.ListArray.from_arrays(pa.array([0, 10_000], pa.int32()), text)))


def test_rows_of_nothing_are_charged() -> None:
    assert refused(written(a=pa.nulls(40_000_000, pa.float64())))


def test_large_tables_that_repeat_short_texts_are_measured_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each digest of a trial stands in a row for each epoch: the worst case is far above what is true."""
    monkeypatch.setattr(parquet_files, "LEAST_BYTES", 1_000_000)
    table = {"a": pa.array(["0123456789abcdef"] * 20_000), "l": pa.array([["cat", None], None] * 10_000)}
    content = written(**table)
    with open_parquet(io.BytesIO(content)) as file:
        read = read_columns(io.BytesIO(content), file, Budget(10_000_000), ["a", "l"])
    assert read.to_pydict() == {name: column.to_pylist() for name, column in table.items()}
    assert read.schema.types == [pa.string(), pa.list_(pa.field("element", pa.string()))]


def test_files_of_one_table_share_a_budget() -> None:
    budget = Budget.of_files(10)
    budget.take(budget.left - 1)
    with pytest.raises(OverBudgetError, match="but 1 are left"):
        budget.take(2)
    budget.take(1)


def test_an_absent_column_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="b"):
        read_within_budget(written(a=pa.array([1])), ["a", "b"])


def test_two_columns_of_one_name_are_damage() -> None:
    table = pa.table({"a": pa.array([1])})
    sink = io.BytesIO()
    pq.write_table(table.append_column("a", table["a"]), sink)
    with pytest.raises(pa.ArrowInvalid, match="several columns named 'a'"):
        read_within_budget(sink.getvalue())


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", None])
def test_times_are_seconds_since_1970_in_any_unit_and_zone(unit: str, zone: str | None) -> None:
    at = pa.array([1_800_000_000_250_000, None], pa.timestamp("us", tz=zone))
    at = pc.cast(at, options=pc.CastOptions(pa.timestamp(unit, tz=zone), allow_time_truncate=True))
    rows = python_rows(read_within_budget(written(n=pa.array([1, 2]), at=at)))
    assert rows == [{"n": 1, "at": 1_800_000_000.0 + 0.25 * (unit != "s")}, {"n": 2, "at": None}]


def test_a_time_that_microseconds_cannot_hold_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid):
        python_rows(pa.table({"at": pa.array([2**62], pa.timestamp("s"))}))
