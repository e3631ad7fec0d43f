"""Hostile results stores: a small store of invented results with one thing in it replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pyarrow as pa
import pyarrow.parquet as pq

from hostile.corpus import LAUGHS, Case, Setup

Change = Callable[[Path], None]


@cache
def _template() -> Path:
    """Make the store once; each case copies it."""
    from bench.make_store import write_store

    factors = {"model.norm": ["batch", "none"]}
    return write_store(
        Path(mkdtemp(prefix="hostile-")) / "x", name="x", seeds=2, epochs=2, extras=False, factors=factors
    )


def remove_template() -> None:
    """Remove the store that the cases copy."""
    if _template.cache_info().currsize:
        shutil.rmtree(_template().parent, ignore_errors=True)
        _template.cache_clear()


def copied(change: Change) -> Setup:
    """Return a setup that copies the store and changes the copy."""

    def setup(folder: Path) -> None:
        store = shutil.copytree(_template(), folder / "results" / "x")
        change(store)

    return setup


def _replace(name: str, content: bytes) -> Change:
    return lambda store: (store / name).write_bytes(content) and None


def _pipe(name: str) -> Change:
    def change(store: Path) -> None:
        (store / name).unlink(missing_ok=True)
        os.mkfifo(store / name)

    return change


def _link(name: str, target: str) -> Change:
    def change(store: Path) -> None:
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).unlink(missing_ok=True)
        (store / name).symlink_to(target)

    return change


def _column(table: str, column: str, values: Callable[[pa.Table], pa.Array]) -> Change:
    """Replace a column of every file of a table."""

    def change(store: Path) -> None:
        for path in (store / table).iterdir():
            read = pq.read_table(path)
            made = values(read)
            pq.write_table(read.set_column(read.column_names.index(column), column, made), path)

    return change


def _same(value: object) -> Callable[[pa.Table], pa.Array]:
    return lambda table: pa.array([value] * len(table))


def _twice(table: str, column: str) -> Change:
    """Repeat a column of every file of a table."""

    def change(store: Path) -> None:
        for path in (store / table).iterdir():
            read = pq.read_table(path)
            pq.write_table(read.append_column(column, read[column]), path)

    return change


def _pipes(table: str) -> Change:
    def change(store: Path) -> None:
        for path in (store / table).iterdir():
            path.unlink()
            os.mkfifo(path)

    return change


def _files(table: str, content: bytes) -> Change:
    def change(store: Path) -> None:
        for path in (store / table).iterdir():
            path.write_bytes(content)

    return change


def _bomb(store: Path) -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 1_000_000]))
    table = pa.table({"digest": text, "fingerprint": text, "config": text})
    pq.write_table(table, store / "trials" / "compact-bomb.parquet", compression="zstd")


def _nulls(store: Path) -> None:
    names = ("digest", "fingerprint")
    table = pa.table(
        {**{name: pa.nulls(30_000_000, pa.string()) for name in names}, "epoch": pa.nulls(30_000_000, pa.int64())}
    )
    pq.write_table(table, store / "epochs" / "compact-nulls.parquet", compression="zstd")


def changes() -> Mapping[str, Change]:
    """Return what is done to a store, by name."""
    return {
        "study.yaml aliases": _replace("study.yaml", LAUGHS.encode()),
        "study.yaml deep": _replace("study.yaml", b"a: " + b"[" * 5_000),
        "study.yaml binary": _replace("study.yaml", bytes(range(256))),
        "study.yaml empty": _replace("study.yaml", b""),
        "study.yaml list": _replace("study.yaml", b"- a"),
        "study.yaml tag": _replace("study.yaml", b"!!python/object/apply:os.system ['true']"),
        "study.yaml pipe": _pipe("study.yaml"),
        "study.yaml link": _link("study.yaml", "/etc/passwd"),
        "study.yaml large": _replace("study.yaml", b"a: b\n" * 1_000_000),
        "environment deep": _replace("environment.json", b"[" * 100_000),
        "environment binary": _replace("environment.json", bytes(range(256))),
        "environment digits": _replace("environment.json", b'{"a": ' + b"9" * 100_000 + b"}"),
        "environment list": _replace("environment.json", b"[1]"),
        "environment pipe": _pipe("environment.json"),
        "environment link": _link("environment.json", "/dev/zero"),
        "trials empty": _files("trials", b""),
        "trials garbage": _files("trials", b"PAR1" + bytes(1000) + b"PAR1"),
        "trials footer": _files("trials", b"PAR1\xff\xff\xff\x7fPAR1"),
        "epochs garbage": _files("epochs", bytes(1000)),
        "trials bomb": _bomb,
        "epochs nulls": _nulls,
        "trials pipe": _pipe("trials/a.parquet"),
        "trials link": _link("trials/a.parquet", "/dev/zero"),
        "schema text": _column("trials", "schema_version", _same("2")),
        "epochs repeated": _column("epochs", "epoch", _same(1)),
        "trials twice": _twice("trials", "config"),
        "epochs twice": _twice("epochs", "val_loss"),
        "epochs text": _column("epochs", "val_loss", _same("[816]")),
        "epochs lists": _column("epochs", "val_loss", _same([None])),
        "epochs pipes": _pipes("epochs"),
        "epochs loop": _link("epochs/a.parquet", "a.parquet"),
        "config broken": _column("trials", "config", _same("{")),
        "config list": _column("trials", "config", _same("[]")),
        "config deep": _column("trials", "config", _same("[" * 50_000)),
        "config null": _column("trials", "config", _same(None)),
        "config number": _column("trials", "config", _same(7)),
        "levels deep": _column("trials", "levels", _same('{"a":' * 5_000)),
        "levels markup": _column("trials", "levels", _same('{"norm": "[/b]"}')),
        "arm markup": _column("trials", "arm", _same("[/b]\x1b[31m<script>")),
        "arm formula": _column("trials", "arm", _same("=cmd|x")),
        "arm superscript": _column("trials", "arm", _same("3²")),
        "arm long": _column("trials", "arm", _same("x" * 20_000)),
        "arm null": _column("trials", "arm", _same(None)),
        "digest null": _column("trials", "digest", _same(None)),
        "seed text": _column("trials", "seed", _same("x")),
        "seed huge": _column("trials", "seed", _same(2**62)),
        "status unknown": _column("trials", "status", _same("[/b]")),
        "finished null": _column("trials", "finished_at", _same(None)),
        "accuracy infinite": _column("trials", "test_accuracy", _same(float("inf"))),
        "accuracy huge": _column("trials", "test_accuracy", _same(1e308)),
        "accuracy nan": _column("trials", "test_accuracy", _same(float("nan"))),
        "version new": _column("trials", "schema_version", _same(10**6)),
        "version null": _column("trials", "schema_version", _same(None)),
        "epoch negative": _column("epochs", "epoch", _same(-1)),
        "epoch null": _column("epochs", "epoch", _same(None)),
        "loss infinite": _column("epochs", "val_loss", _same(float("-inf"))),
        "report link": _link("report", "/tmp"),
        "page link": _link("report/report.html", "/etc/passwd"),
        "effects link": _link("report/effects.csv", "/etc/passwd"),
        "lock link": _link(".lock", "/etc/passwd"),
        "lock pipe": _pipe(".lock"),
        "no trials": lambda store: shutil.rmtree(store / "trials"),
        "trials is a file": lambda store: (shutil.rmtree(store / "trials"), (store / "trials").write_text("x"))[0],
    }


def store_cases() -> Iterator[Case]:
    """Yield each store for `report`, which reads and draws all of it, and for `compact` or `compare`."""
    for index, (name, change) in enumerate(changes().items()):
        yield Case(f"report: {name}", ("report", "x"), copied(change), slow=True)
        yield Case(f"compact: {name}", ("compact", "x"), copied(change))
        if index % 8 == 0:
            yield Case(f"compare: {name}", ("compare", "x", "x"), copied(change), slow=True)
            yield Case(f"factorize: {name}", ("factorize", "x"), copied(change), slow=True)
