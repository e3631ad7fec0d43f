"""Stores from elsewhere: one file that cannot be read is named and left out, and read again where that may pass."""

from __future__ import annotations

import errno
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bench.make_store import write_store
from tune_app.storage import Folder, StorageError
from tune_app.web import files
from tune_app.web.index import StudyIndex
from tune_app.web.summaries import detail
from tune_app.web.tables import Table, trial_rows


@pytest.fixture
def store(tmp_path):
    """A study of 4 arms and 2 seeds."""
    return write_store(tmp_path / "invented", seeds=2, epochs=2, extras=False)


def opened(store):
    study = StudyIndex(Folder(str(store)), "invented")
    study.refresh(0.0)
    return study


def change(store, name, values):
    """Give the first trial's row another column, or none of this name; return the file's name."""
    file = sorted((store / "trials").iterdir())[0]
    table = pq.read_table(file)
    place = table.schema.get_field_index(name)
    table = table.remove_column(place) if values is None else table.set_column(place, name, values)
    pq.write_table(table, file, compression="zstd")
    return file.name


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("digest", None),
        ("status", None),
        ("started_at", pa.array(["yesterday"])),
        ("seed", pa.array(["one"])),
        ("arm", pa.array([[1, 2]])),
    ],
)
def test_a_file_that_is_no_table_of_trials_is_named_and_left_out(column, values, store):
    name = change(store, column, values)
    shown = detail(opened(store), None)
    assert (shown.ended, shown.planned) == (7, 8)
    assert f"{name} cannot be read and is left out" in shown.problems


@pytest.mark.parametrize(
    ("column", "values"),
    [("status", pa.array(["paused"])), ("seed", pa.nulls(1, pa.int64())), ("digest", pa.nulls(1, pa.string()))],
)
def test_a_row_that_belongs_to_no_cell_is_left_out(column, values, store):
    change(store, column, values)
    assert detail(opened(store), None).ended == 7


def test_a_file_of_an_earlier_release_lacks_columns(store):
    change(store, "seconds", None)
    change(store, "gpus", pa.array([float("inf")]))
    shown = detail(opened(store), None)
    assert (shown.ended, shown.problems) == (8, [])
    assert shown.cost.trial_seconds > 0


def test_a_named_pipe_is_named_and_left_out(store):
    os.mkfifo(store / "trials" / "x.parquet")
    shown = detail(opened(store), None)
    assert (shown.ended, shown.problems) == (8, ["x.parquet cannot be read and is left out"])


def test_a_file_that_would_take_too_much_memory_is_left_out(store, monkeypatch):
    monkeypatch.setattr("search_spaces.parquet_files.LEAST_BYTES", 1000)
    name = change(store, "error", pa.array(["x" * 10_000_000]))
    study = opened(store)
    assert study.damaged == (name,)
    assert len(pq.read_table(pa.BufferReader(files.content(study, "trials.parquet")[0]))) == 7


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), StorageError("no answer")])
def test_a_file_that_could_not_be_read_for_a_moment_is_read_again(error, store, monkeypatch):
    read, fails = Folder.read, [True]

    def sometimes(folder, name):
        if name == chosen and fails[0]:
            raise error
        return read(folder, name)

    chosen = sorted(path.name for path in (store / "trials").iterdir())[0]
    os.utime(store / "trials", (1, 1))  # it does not change any more
    monkeypatch.setattr(Folder, "read", sometimes)
    table = Table(Folder(str(store / "trials")), trial_rows)
    assert [table.refresh(), list(table.damaged)] == [True, [chosen]]
    assert not table.refresh()
    fails[0] = False
    assert [table.refresh(), list(table.damaged), len(table.files)] == [True, [], 8]
    assert not table.refresh()


def test_epochs_that_could_not_be_read_for_a_moment_are_read_again(store, monkeypatch):
    study, read = opened(store), Folder.read
    monkeypatch.setattr(Folder, "read", lambda folder, name: fail(OSError(errno.EMFILE, "Too many open files")))
    assert study.epochs() == {}
    before = study.finished_version
    monkeypatch.setattr(Folder, "read", read)
    study.refresh(0.0)
    assert study.finished_version != before
    assert len(study.epochs()) == 8


def fail(error):
    raise error


def test_a_file_that_was_merged_away_before_it_was_read_is_forgotten(store, monkeypatch):
    gone, read = sorted((store / "trials").iterdir())[0], Folder.read

    def merged(folder, name):
        gone.unlink(missing_ok=True)
        return read(folder, name)

    monkeypatch.setattr(Folder, "read", merged)
    table = Table(Folder(str(store / "trials")), trial_rows)
    table.refresh()
    table.refresh()
    assert (list(table.damaged), len(table.files)) == ([], 7)


def test_a_bucket_that_fails_is_one_message_and_not_the_end_of_the_thread_that_reads_studies(
    make_site, tmp_path, monkeypatch
):
    site = make_site(f"memory://{tmp_path.name}", state=tmp_path / "state")

    def refuse(*_, **__):
        raise ConnectionError("no route to the bucket")

    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    site.service._read_studies()
    for address in ("/api/v1/studies", "/"):
        answer = site.client().get(address)
        assert (answer.status_code, "no route to the bucket; check the address" in answer.text) == (503, True)
