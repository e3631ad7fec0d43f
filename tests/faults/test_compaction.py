"""Compaction changes no figure, at whatever moment it is killed; clocks that step back change no order."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from drivers import study
from typer.testing import CliRunner

from analysis import load_study
from search_spaces.plan import make_plan
from search_spaces.store_schema import METRICS
from search_spaces.study_files import study_from
from tune_app.cli import app
from tune_app.storage import Folder
from tune_app.tuning.jobs import cell_job
from tune_app.tuning.store.compact import compact
from tune_app.tuning.store.rows import TrialRecord, epoch_tables, trial_row
from tune_app.tuning.store.writer import ResultsStore

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
    store.write_trial(trial | ({"finished_at": finished} if finished else {}), epoch_tables(record))


@pytest.fixture
def store(tmp_path):
    made = ResultsStore(str(tmp_path), "tiny")
    made.write_study(SPEC.model_dump(mode="json"), {})
    *rest, last = make_plan(SPEC).cells
    for cell in rest:
        write(made, cell)
    write(made, last, "failed")
    return made


def same(one, other):
    for name in ("trials", "epochs"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
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
