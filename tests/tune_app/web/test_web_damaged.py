"""Stores from elsewhere: one file that cannot be read is named and left out, and read again where that may pass."""

from __future__ import annotations

import errno
import io
import os
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bench.make_store import write_store
from tune_app.storage import Folder, StorageError
from tune_app.tuning.store.merging import merge_files, read_part
from tune_app.web import files
from tune_app.web.index import StudyIndex
from tune_app.web.problems import ProblemError
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
    refused(409, f"trials/{name} is damaged (it would take", study)


def refused(status, words, study, name="trials.parquet"):
    with pytest.raises(ProblemError) as error:
        files.content(study, name)
    assert (error.value.status, words in error.value.detail) == (status, True), error.value.detail


def downloaded(study, table):
    """Return a table as a client gets it, by trial."""
    found = pd.read_csv(io.BytesIO(files.content(study, f"{table}.csv")[0]))
    pd.testing.assert_frame_equal(
        found[["digest", "fingerprint"]],
        pd.read_parquet(io.BytesIO(files.content(study, f"{table}.parquet")[0]))[["digest", "fingerprint"]],
        check_dtype=False,
    )
    return found.set_index(["digest", "fingerprint"])


@pytest.mark.parametrize(
    ("column", "values"), [("digest", None), ("seed", pa.array(["one"])), ("finished_at", pa.array(["yesterday"]))]
)
def test_a_table_with_a_damaged_file_is_not_sent_without_its_rows(column, values, store):
    name = change(store, column, values)
    refused(409, f"trials/{name} is damaged", opened(store))


def test_a_table_of_which_a_file_cannot_be_read_for_a_moment_is_not_sent_without_it(store, monkeypatch):
    study = opened(store)
    monkeypatch.setattr(Folder, "read", lambda folder, name: fail(OSError(errno.EMFILE, "Too many open files")))
    refused(503, "Too many open files", study)
    monkeypatch.setattr(Folder, "read", lambda folder, name: fail(StorageError("no answer")))
    with pytest.raises(StorageError):
        files.content(study, "trials.parquet")


@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_a_table_that_is_merged_while_it_is_read_has_all_its_rows(table, store, monkeypatch):
    study, read, folder = opened(store), Folder.read, Folder(str(store)) / table
    before, names = downloaded(study, table), folder.names(".parquet")

    def merged(own, name):
        monkeypatch.setattr(Folder, "read", read)
        merge_files(folder, table, {name: read_part(folder, name) for name in names})
        return read(own, name)

    monkeypatch.setattr(Folder, "read", merged)
    pd.testing.assert_frame_equal(downloaded(study, table).sort_index(), before.sort_index())
    assert [name[:8] for name in folder.names(".parquet")] == ["compact-"]
    monkeypatch.setattr(Folder, "read", lambda own, name: fail(FileNotFoundError(name)))
    refused(503, "ask for it again", study)


def test_a_trial_that_is_in_several_files_is_sent_once_by_the_rule_of_the_pages(store):
    own = sorted((store / "trials").iterdir())
    before = {table: downloaded(opened(store), table) for table in ("trials", "epochs")}
    for path, day, seconds in ((own[0], 0, 1.0), (own[1], 0, 2.0), (own[1], 1, 3.0)):
        row = pq.read_table(path)
        row = put(row, "finished_at", pc.add(row["finished_at"], timedelta(days=day)))
        pq.write_table(
            put(row, "seconds", pa.array([seconds])), store / "trials" / f"compact-{9 - seconds:.0f}.parquet"
        )
    own[1].unlink()
    epochs = pq.read_table(store / "epochs" / own[0].name)
    pq.write_table(put(epochs, "val_loss", pa.array([7.0] * len(epochs))), store / "epochs" / "compact-0.parquet")
    study = opened(store)
    trials = downloaded(study, "trials")
    first, second = (tuple(path.stem.split("-")) for path in own[:2])
    assert len(trials) == 8
    assert trials.loc[first, "seconds"] == before["trials"].loc[first, "seconds"]
    assert trials.loc[second, "seconds"] == 3.0
    assert {name: row["seconds"] for name, row in study.trials.items()} == {
        "-".join(pair): pytest.approx(value) for pair, value in trials["seconds"].items()
    }
    pd.testing.assert_frame_equal(downloaded(study, "epochs").sort_index(), before["epochs"].sort_index())


def test_epochs_of_another_run_than_the_trial_s_own_row_are_not_sent(store):
    own = sorted((store / "trials").iterdir())[0]
    for table in ("trials", "epochs"):
        rows = pq.read_table(store / table / own.name)
        pq.write_table(put(rows, "run_id", pa.array(["new"] * len(rows), pa.string())), store / table / own.name)
    stale = put(rows, "run_id", pa.array(["old"] * len(rows), pa.string()))
    pq.write_table(put(stale, "epoch", pa.array([8, 9])), store / "epochs" / "compact-0.parquet")
    found = downloaded(opened(store), "epochs")
    assert (len(found), found["epoch"].max()) == (16, 2)


def put(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, values)


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
