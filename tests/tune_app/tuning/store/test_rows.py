import json

import pytest
from reports import epoch_row, report

from search_spaces.store_schema import EPOCHS, QUANTILES, TRIALS
from tune_app.tuning.jobs import Job
from tune_app.tuning.store.rows import TrialRecord, epoch_tables, running_trial, trial_row
from tune_app.tuning.store.writer import parquet_bytes


def test_a_job_survives_its_travel_as_text(job):
    later = job.again("error: x", gpus=0.5)
    assert Job.from_json(job.to_json()) == job
    assert Job.from_json(later.to_json()) == later
    assert (later.history, later.gpus, later.digest) == (("error: x",), 0.5, job.digest)


def test_the_trials_row_has_the_figures_of_the_best_epoch(record, spec):
    record.add(report(0.75, 0.5, first=3, status="completed", test_accuracy=0.6, parameters=7))
    row = trial_row(record, "completed", spec)
    assert row["best_epoch"] == 2  # the earliest of equals
    assert row["val_accuracy"] == 0.75
    assert (row["epochs_trained"], row["epochs_planned"]) == (4, 2)
    assert (row["test_accuracy"], row["parameters"], row["attempts"]) == (0.6, 7, 1)
    assert set(row) <= set(TRIALS.names)
    assert set(TRIALS.names) - set(row) <= {*(name for name in TRIALS.names if name.startswith("test_")), "classes"} | {
        *("error", "precision", "device", "device_name", "task", "code", "artifacts", "run_id", "log_lines")
    }
    parquet_bytes("trials", [row])


def test_an_epoch_reported_twice_counts_once(record):
    record.add(report(0.25, 0.75, 0.5))
    tables = epoch_tables(record)
    assert [row["epoch"] for row in tables["epochs"]] == [1, 2, 3]
    assert [row["epoch"] for row in tables["quantiles"]] == [1, 2, 3]
    assert set(tables["epochs"][0]) == set(EPOCHS.names) - {"run_id"}
    assert set(tables["quantiles"][0]) == set(QUANTILES.names) - {"run_id"}


def test_an_epoch_whose_accuracy_is_no_number_is_never_the_best(job, spec):
    record = TrialRecord(job, cpus=1.0)
    record.epochs = {1: epoch_row(1, float("nan"))}
    assert record.best_epoch is None
    row = trial_row(record, "diverged", spec)
    assert row["best_epoch"] is None
    assert row.get("val_accuracy") is None


def test_the_best_epoch_follows_the_chosen_metric_and_its_direction(job, spec):
    record = TrialRecord(job, 1.0, "val_loss", higher_is_better=False)
    record.epochs = {epoch: epoch_row(epoch) | {"val_loss": loss} for epoch, loss in ((1, 0.4), (2, 0.2), (3, 0.2))}
    assert record.best_epoch == 2
    row = trial_row(record, "completed", spec)
    assert (row["val_loss"], row["choose_by"]) == (0.2, "val_loss")


def test_what_went_wrong_before_is_kept(job, spec):
    record = TrialRecord(job.again("error: ValueError").again("node lost"), cpus=1.0)
    row = trial_row(record, "completed", spec)
    assert json.loads(row["history"]) == ["error: ValueError", "node lost"]
    assert row["attempts"] == 3


def test_a_column_that_the_schema_lacks_is_our_mistake(record, spec):
    row = trial_row(record, "completed", spec) | {"surprise": 1}
    with pytest.raises(AssertionError, match="surprise"):
        parquet_bytes("trials", [row])


def test_what_runs_is_shown_live_with_its_points(record):
    shown = running_trial(record)
    assert (shown.arm, shown.seed, shown.epoch, shown.epochs) == (record.job.arm, 0, 2, 2)
    assert shown.points["val_accuracy"] == [(1, 0.25), (2, 0.75)]
    assert "seconds" not in shown.points
