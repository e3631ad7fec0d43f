"""The results table: a row for each figure, in one Parquet file that is rewritten after every check."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tune_app.training import device_name

TABLE = "gpu.parquet"


@dataclass(frozen=True)
class Measured:
    """A figure. ``bound`` is what it was compared with, such as "<= 0.001"; ``passed`` is None where nothing was."""

    value: float | None
    unit: str = ""
    bound: str = ""
    passed: bool | None = None


def at_most(value: float, bound: float, unit: str = "") -> Measured:
    """Return a figure that has to be ``bound`` or less; one that is not a number fails."""
    return Measured(value, unit, f"<= {bound:g}", value <= bound)


def at_least(value: float, bound: float, unit: str = "") -> Measured:
    """Return a figure that has to be ``bound`` or more."""
    return Measured(value, unit, f">= {bound:g}", value >= bound)


@dataclass(frozen=True)
class Check:
    """Something to find out. ``run`` returns figures by a suffix of the check's name; "" for the only one."""

    name: str
    what: str
    run: Callable[[], Mapping[str, Measured]]


@dataclass(frozen=True)
class Row:
    """One row of the table. ``error`` is set where the check raised; it is then run again by the next call."""

    part: str
    check: str
    name: str
    what: str
    value: float | None
    unit: str
    bound: str
    passed: bool | None
    seconds: float
    device: str
    versions: str
    size: str
    error: str = ""


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("part", "check", "name", "what")),
        ("value", pa.float64()),
        *((name, pa.string()) for name in ("unit", "bound")),
        ("passed", pa.bool_()),
        ("seconds", pa.float64()),
        *((name, pa.string()) for name in ("device", "versions", "size", "error")),
    ]
)


def read_rows(file: Path) -> list[Row]:
    """Return the rows of a table; none where there is no file."""
    return [Row(**row) for row in pq.read_table(file).to_pylist()] if file.exists() else []


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Write the table, whole or not at all."""
    unfinished = file.with_name(f".{file.name}.tmp")
    pq.write_table(pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], SCHEMA), unfinished)
    unfinished.replace(file)


class Results:
    """The table in a folder, together with what earlier calls left in others."""

    def __init__(self, out: Path, earlier: Sequence[Path] = ()) -> None:
        self._file = out / TABLE
        self.rows: list[Row] = []
        for folder in (*earlier, out):
            new = read_rows(folder / TABLE)
            self.replace(new, {(row.part, row.check) for row in new})

    def replace(self, rows: Sequence[Row], checks: set[tuple[str, str]]) -> None:
        """Replace the rows of these checks."""
        self.rows = [row for row in self.rows if (row.part, row.check) not in checks] + list(rows)

    def has(self, part: str, check: str, size: str) -> bool:
        """Return whether a check has been made without an error."""
        return any((row.part, row.check, row.size) == (part, check, size) and not row.error for row in self.rows)

    def save(self) -> None:
        """Write the table."""
        write_rows(self._file, self.rows)


def run_checks(
    part: str, checks: Iterator[Check], results: Results, device: torch.device, size: str, end: float
) -> None:
    """Run the checks that the results lack until all are made or the clock says ``end``; save after each."""
    where, installed = device_name(device), versions()
    for check in checks:
        if results.has(part, check.name, size):
            continue
        if time.time() >= end:
            print(f"{part}: out of time before {check.name!r}", flush=True)
            return
        began, error = time.monotonic(), ""
        try:
            figures = check.run()
        except Exception as problem:  # a check that fails is a result, and the next one is made
            figures, error = {"": Measured(None, passed=False)}, f"{type(problem).__name__}: {problem}"[:2000]
        seconds = time.monotonic() - began
        rows = [
            Row(
                part=part,
                check=check.name,
                name=f"{check.name}{suffix}",
                what=check.what,
                value=figure.value,
                unit=figure.unit,
                bound=figure.bound,
                passed=figure.passed,
                seconds=seconds,
                device=where,
                versions=installed,
                size=size,
                error=error,
            )
            for suffix, figure in figures.items()
        ]
        for row in rows:
            verdict = {True: "passed", False: "FAILED", None: ""}[row.passed]
            print(f"{part}: {row.name}: {row.value} {row.unit} {row.bound} {verdict} {row.error}".rstrip(), flush=True)
        results.replace(rows, {(part, check.name)})
        results.save()


def versions() -> str:
    """Return the versions of Python and torch, with CUDA's where there is a device: `page` shows rows that name it."""
    cuda = f", CUDA {torch.version.cuda}, cuDNN {_cudnn()}" if torch.cuda.is_available() else ""
    return f"Python {platform.python_version()}, torch {torch.__version__}{cuda}"


def _cudnn() -> str:
    return str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
