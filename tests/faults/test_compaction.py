"""Compaction changes no figure, at whatever moment it is killed; clocks that step back change no order."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drivers import study
from typer.testing import CliRunner

from analysis import load_study
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.store_schema import METRICS
from search_spaces.study_files import study_from, study_to_store
from tune_app.cli import app
from tune_app.storage import Folder
from tune_app.tuning.jobs import cell_job
from tune_app.tuning.store import writer
from tune_app.tuning.store.compact import compact
from tune_app.tuning.store.rows import TrialRecord, epoch_tables, trial_row
from tune_app.tuning.store.writer import ResultsStore

pytestmark = pytest.mark.slow

SPEC = study_from(study(seeds=3))
FINGERPRINT = "f" * 16


def write(store, cell, status="completed", finished=None):
    record = TrialRecord(cell_job(cell, FINGERPRINT, 0.0), cpus=1.0)
    value = cell.config.seed / 10
    row = {f"{split}_{metric}": value for split in ("train", "val") for metric in METRICS}
    rest = ("learning_rate", "gradient_norm", "weight_norm", "dead_fraction", "images_per_second", "seconds")
    epochs = [{"epoch": epoch, **row, **dict.fromkeys(rest, 1.0)} for epoch in (1, 2)]
    columns = {f"test_{metric}": value for metric in METRICS} | {"seconds": 1.0}
    record.add({"epochs": epochs, "quantiles": [], "trial": columns})
    trial = trial_row(record, status, SPEC)
    store.write_trial(
        trial | ({"started_at": finished, "finished_at": finished} if finished else {}), epoch_tables(record)
    )


@pytest.fixture
def store(tmp_path):
    made = ResultsStore(str(tmp_path), "tiny")
    made.write_study(study_to_store(SPEC), {})
    *rest, last = make_plan(SPEC).cells
    for cell in rest:
        write(made, cell)
    write(made, last, "failed")
    return made


def same(one, other):
    for name in ("trials", "epochs"):
        frames = (getattr(found, name).drop(columns="run_id", errors="ignore") for found in (one, other))
        pd.testing.assert_frame_equal(*frames)
    assert one.problems == other.problems == ()


def test_every_reader_sees_the_same_before_and_after(store):
    before, trials, curves = load_study(store.folder.url), store.trials(), store.curves("val_loss")
    assert compact(store) == 5
    same(before, load_study(store.folder.url))
    assert sorted(trials, key=str) == sorted(store.trials(), key=str)
    assert store.curves("val_loss") == curves
    assert len((store.folder / "trials").names()) == 2  # one merged; a failed trial keeps its own: it is trained again
    assert len(store.finished()) == 5
    assert compact(store) == 0


def test_the_verb_says_what_it_merged(store):
    done = CliRunner().invoke(app, ["compact", "tiny", "--results", str(Path(store.folder.root).parent)])
    assert (done.exit_code, done.output) == (0, f"merged the files of 5 trials in {store.folder.url}\n")


@pytest.mark.parametrize("moment", range(0, 13, 2))
def test_a_compaction_killed_at_any_moment_loses_nothing(store, monkeypatch, moment):
    before, done = load_study(store.folder.url), []

    def killed(original):
        def call(self, *arguments, **options):
            if len(done) == moment:
                raise KeyboardInterrupt
            done.append(self)
            original(self, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", killed(Folder.write))
        patch.setattr(Path, "unlink", killed(Path.unlink))
        try:
            compact(store)
        except KeyboardInterrupt:
            assert len(done) == moment
        else:
            assert moment == len(done)  # it had ended before
    same(before, load_study(store.folder.url))
    assert len(store.finished()) == 5
    compact(store)
    same(before, load_study(store.folder.url))


def test_a_trial_trained_again_counts_although_the_clock_stepped_back(store):
    failed = make_plan(SPEC).cells[-1]
    write(store, failed, finished=datetime.now(UTC) - timedelta(days=1))
    assert len(store.finished()) == 6
    assert set(load_study(store.folder.url).trials.status) == {"completed"}


def test_a_damaged_file_of_another_table_makes_its_trial_unfinished(store):
    damaged = store.folder.path(f"epochs/{make_plan(SPEC).cells[0].digest}-{FINGERPRINT}.parquet")
    with open(damaged, "r+b") as file:  # noqa: PTH123
        file.truncate(100)
    assert len(store.finished()) == 4


def test_a_run_merges_the_files_of_each_so_many_trials(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "TRIALS_PER_SEGMENT", 4)
    spec = study_from(study(seeds=5))
    cells = make_plan(spec).cells
    assert len(cells) == 10
    plain, merged = ResultsStore(str(tmp_path / "plain"), "tiny"), ResultsStore(str(tmp_path / "merged"), "tiny")
    finished = datetime(2026, 1, 1, tzinfo=UTC)
    for made in (plain, merged):
        made.write_study(study_to_store(spec), {})
    for cell in cells:
        write(merged, cell, "failed" if cell is cells[3] else "completed", finished)
    monkeypatch.setattr(writer, "TRIALS_PER_SEGMENT", 100)
    for cell in cells:
        write(plain, cell, "failed" if cell is cells[3] else "completed", finished)
    for table in ("trials", "epochs"):
        names = (merged.folder / table).names(".parquet")
        assert sum(name.startswith("compact-") for name in names) == 2
        assert len(names) == 2 + 2, "a failed trial and the last one have files of their own"
    same(load_study(plain.folder.url), load_study(merged.folder.url))


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_kill_while_files_are_merged_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "TRIALS_PER_SEGMENT", 4)
    monkeypatch.setattr(Folder, "remove_files", interrupted)
    store = ResultsStore(str(tmp_path), "tiny")
    store.write_study(study_to_store(SPEC), {})
    cells = make_plan(SPEC).cells
    for cell in cells[:3]:
        write(store, cell)
    with pytest.raises(KeyboardInterrupt):
        write(store, cells[3])
    again = ResultsStore(str(tmp_path), "tiny")
    assert {trial.digest for trial in again.trials()} == {cell.digest for cell in cells[:4]}
    assert load_study(store.folder.url).problems == ()


def test_of_two_merged_rows_of_a_trial_the_later_counts(tmp_path):
    store = ResultsStore(str(tmp_path), "tiny")
    store.write_study(study_to_store(SPEC), {})
    cell = make_plan(SPEC).cells[0]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for status, when in (("completed", now + timedelta(hours=1)), ("pruned", now)):
        write(store, cell, status, when)
        store.merge(least=1)
        (name,) = (n for n in (store.folder / "trials").names(".parquet") if n.startswith("compact-"))
        for table in ("trials", "epochs"):  # as if merged with other trials: the name follows from those in it
            place = Path(store.folder.root) / table
            (place / name).rename(place / f"compact-{status}.parquet.kept")
    for path in Path(store.folder.root).rglob("*.kept"):
        path.rename(path.with_suffix(""))
    assert [trial.status for trial in ResultsStore(str(tmp_path), "tiny").trials()] == ["completed"]


def test_a_column_of_another_type_stops_compaction_with_its_place(store):
    digest, fingerprint = next(iter(store.finished()))
    path = Path(store.folder.root) / "epochs" / f"{digest}-{fingerprint}.parquet"
    table = pq.read_table(path)
    text = pa.array(["[816]"] * len(table))
    pq.write_table(table.set_column(table.column_names.index("val_loss"), "val_loss", text), path)
    before = {file: file.read_bytes() for file in Path(store.folder.root).rglob("*.parquet")}
    with pytest.raises(StudyError, match=rf"{path.name}: is damaged \(its column val_loss is string, not double\)"):
        compact(store)
    assert {file: file.read_bytes() for file in Path(store.folder.root).rglob("*.parquet")} == before


def test_a_pipe_in_the_place_of_a_table_counts_its_cell_as_missing(store):
    digest, fingerprint = next(iter(store.finished()))
    path = Path(store.folder.root) / "epochs" / f"{digest}-{fingerprint}.parquet"
    path.unlink()
    os.mkfifo(path)
    assert len(store.finished()) == 4
    assert any(path.name in place for place in store.damage)
