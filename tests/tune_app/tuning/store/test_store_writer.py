import json
import os
import stat

import pyarrow.parquet as pq
import pytest
import yaml

from search_spaces.errors import StudyError
from search_spaces.store_schema import SCHEMA_VERSION, TRIALS
from tune_app.tuning.store.compact import compact
from tune_app.tuning.store.locks import hold
from tune_app.tuning.store.rows import epoch_tables, trial_row
from tune_app.tuning.store.writer import ResultsStore


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return ResultsStore(str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}", "tiny")


def write(store, record, status="completed"):
    store.write_trial(trial_row(record, status, "tiny", "ablation"), epoch_tables(record))


def test_a_trial_is_one_file_in_each_table_and_reads_as_written(tmp_path, record):
    store = ResultsStore(str(tmp_path), "tiny")
    write(store, record)
    name = f"{record.job.digest}-{record.job.fingerprint}.parquet"
    assert sorted(p.name for p in (tmp_path / "tiny").iterdir()) == ["epochs", "quantiles", "trials"]
    (row,) = pq.read_table(tmp_path / "tiny" / "trials" / name).to_pylist()
    assert row["schema_version"] == SCHEMA_VERSION
    assert row["arm"] == record.job.arm
    assert pq.read_schema(tmp_path / "tiny" / "trials" / name).equals(TRIALS)
    assert len(pq.read_table(tmp_path / "tiny" / "epochs" / name)) == 2


def test_the_trials_row_is_written_last(store, record, monkeypatch):
    written = []
    monkeypatch.setattr(type(store.folder), "write", lambda self, name, content: written.append(name))
    write(store, record)
    assert [name.split("/")[0] for name in written] == ["epochs", "quantiles", "trials"]


@pytest.mark.parametrize(
    ("status", "needs_no_more"), [("completed", True), ("diverged", True), ("failed", False), ("pruned", False)]
)
def test_what_is_finished_needs_no_more_training(store, record, status, needs_no_more):
    write(store, record, status)
    assert (store.finished() == {(record.job.digest, "f" * 16)}) is needs_no_more


def test_a_later_row_of_a_trial_replaces_the_earlier(store, record):
    write(store, record, "failed")
    write(store, record, "completed")
    (trial,) = store.trials()
    assert (trial.status, trial.seed, trial.arm) == ("completed", 0, record.job.arm)
    assert trial.metrics["val_accuracy"] == 0.75


def test_a_file_that_cannot_be_read_counts_as_not_there(store, record):
    write(store, record)
    (store.folder / "trials").write("0-0.parquet", b"PAR1 half")
    assert len(store.trials()) == 1


def test_the_curve_of_a_trial_leaves_out_what_is_no_number(store, record):
    record.epochs[2]["val_loss"] = float("nan")
    write(store, record)
    assert store.curves("val_loss") == {f"{record.job.digest}-{'f' * 16}": {1: 0.5}}


def test_study_and_environment_are_plain_files(store):
    store.write_study({"name": "tiny", "question": "why µ?"}, {"python": "3"})
    assert yaml.safe_load(store.folder.read("study.yaml")) == {"name": "tiny", "question": "why µ?"}
    assert json.loads(store.folder.read("environment.json")) == {"python": "3"}


def test_checkpoints_have_an_address_that_every_process_understands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ResultsStore("results", "tiny").checkpoints_url == f"file://{tmp_path}/results/tiny/checkpoints"
    assert ResultsStore("memory://x", "tiny").checkpoints_url == "memory:///x/tiny/checkpoints"


def test_a_results_folder_that_is_a_file_is_said_before_training(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(StudyError, match=r"cannot be written.*choose another by --results"):
        ResultsStore(str(tmp_path / "results"), "tiny").prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_results_folder_is_said_before_training(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StudyError, match="cannot be written"):
        ResultsStore(str(tmp_path), "tiny").prepare()


def test_a_store_is_held_by_one_run_at_a_time(tmp_path):
    store = ResultsStore(str(tmp_path), "tiny")
    store.prepare()
    with (
        hold(store.folder),
        pytest.raises(StudyError, match=rf"in use by process {os.getpid()} on "),
        hold(store.folder),
    ):
        pytest.fail("held twice")
    with hold(store.folder):
        pass
    assert not store.folder.exists(".holder")


@pytest.mark.parametrize("config", ["{", "[]", "[" * 5000, '"x"'])
def test_a_row_whose_config_is_damaged_counts_as_not_there(tmp_path, record, config):
    store = ResultsStore(str(tmp_path), "tiny")
    store.write_trial(trial_row(record, "completed", "tiny", "ablation") | {"config": config}, epoch_tables(record))
    assert store.trials() == []
    assert compact(store) == 0


def test_compaction_names_a_file_that_is_damaged_and_merges_nothing(tmp_path, record):
    store = ResultsStore(str(tmp_path), "tiny")
    write(store, record)
    name = f"{record.job.digest}-{record.job.fingerprint}.parquet"
    pq.write_table(
        pq.read_table(tmp_path / "tiny" / "epochs" / name).drop(["epoch"]), tmp_path / "tiny" / "epochs" / name
    )
    with pytest.raises(StudyError, match=rf"epochs/{name}: is damaged"):
        compact(store)
    assert (tmp_path / "tiny" / "trials" / name).exists()
