import dataclasses
import io
import json
import os
import stat

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from reports import report

from analysis import load_study
from search_spaces.errors import StudyError
from search_spaces.store_schema import SCHEMA_VERSION, TRIALS
from search_spaces.study import StudySpec
from search_spaces.study_files import study_to_store
from tune_app.tuning.store.compact import compact
from tune_app.tuning.store.locks import hold
from tune_app.tuning.store.rows import TrialRecord, epoch_tables, trial_row
from tune_app.tuning.store.writer import ResultsStore

CORRECT = {"split": "test", "images": "a" * 16, "n": 10, "bits": b"\xff\x40"}
SPEC = StudySpec.model_validate({"name": "tiny", "factors": {"model.norm": ["none"]}})


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return ResultsStore(str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}", "tiny")


def write(store, record, status="completed"):
    store.write_trial(trial_row(record, status, SPEC), epoch_tables(record))


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


def test_all_rows_of_a_trial_have_the_name_of_the_run_that_wrote_them_also_after_compaction(tmp_path, record):
    record.add(report(0.5, first=3, status="completed") | {"correct": [CORRECT]})
    one, two = (ResultsStore(str(tmp_path / name), "tiny") for name in "ab")
    for store in (one, two):
        write(store, record)
    compact(one)
    folders = [path for path in (tmp_path / "a/tiny").iterdir() if path.is_dir()]
    assert sorted(path.name for path in folders) == ["correct", "epochs", "quantiles", "trials"]
    for path in folders:
        assert set(pq.read_table(path)["run_id"].to_pylist()) == {one.run_id}
    assert one.run_id != two.run_id


def test_the_trials_row_is_written_last(store, record, monkeypatch):
    record.add(report(0.5, first=3, status="completed") | {"correct": [CORRECT]})
    written = []
    monkeypatch.setattr(type(store.folder), "write", lambda self, name, content: written.append(name))
    write(store, record)
    assert [name.split("/")[0] for name in written] == ["epochs", "quantiles", "correct", "trials"]


def test_correct_images_survive_the_store_compaction_and_loading(tmp_path, record, spec):
    record.add(report(0.5, first=3, status="completed") | {"correct": [CORRECT]})
    store = ResultsStore(str(tmp_path), "tiny")
    store.write_trial(trial_row(record, "completed", spec), epoch_tables(record))
    store.write_study(study_to_store(spec), {})
    for _ in range(2):
        (row,) = load_study(tmp_path / "tiny").correct.to_dict("records")
        assert {name: row[name] for name in CORRECT} == CORRECT
        assert row["digest"] == record.job.digest
        compact(store)
    assert [path.name[:8] for path in (tmp_path / "tiny" / "correct").iterdir()] == ["compact-"]


@pytest.mark.parametrize(
    ("status", "needs_no_more"), [("completed", True), ("diverged", True), ("failed", False), ("pruned", False)]
)
def test_what_is_finished_needs_no_more_training(store, record, status, needs_no_more):
    write(store, record, status)
    assert (store.finished().keys() == {(record.job.digest, "f" * 16)}) is needs_no_more


def test_a_later_row_of_a_trial_replaces_the_earlier(store, record):
    write(store, record, "failed")
    write(store, record, "completed")
    (trial,) = store.trials()
    assert (trial.status, trial.seed, trial.arm) == ("completed", 0, record.job.arm)
    assert trial.metrics["val_accuracy"] == 0.75


def test_a_file_that_cannot_be_read_counts_as_not_there_and_is_named(store, record):
    write(store, record)
    assert store.damage == []
    (store.folder / "trials").write("0-0.parquet", b"PAR1 half")
    assert len(store.trials()) == len(store.finished()) == 1
    [sentence] = store.damage
    assert sentence.startswith(f"trials/0-0.parquet of {store.folder.url} cannot be read (")
    assert sentence.endswith("its cells count as missing")


def test_a_cell_whose_epochs_lost_their_end_counts_as_missing_and_is_named(tmp_path, record):
    store = ResultsStore(str(tmp_path), "tiny")
    write(store, record)
    name = f"epochs/{record.job.digest}-{record.job.fingerprint}.parquet"
    store.folder.write(name, store.folder.read(name)[:-20])
    assert not store.finished()
    assert [sentence.split(" ")[0] for sentence in store.damage] == [name]


def edited(store, record, change):
    name = f"trials/{record.job.digest}-{record.job.fingerprint}.parquet"
    table = change(pq.read_table(io.BytesIO(store.folder.read(name))))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    store.folder.write(name, sink.getvalue())


def test_a_column_that_an_older_file_lacks_is_null_and_its_cell_stays_finished(store, record):
    write(store, record)
    edited(store, record, lambda table: table.drop_columns(["choose_by", "code", "test_f1_macro", "seconds"]))
    (trial,) = store.trials()
    assert (trial.choose_by, trial.code, trial.seconds) == (None, None, None)
    assert "test_f1_macro" not in trial.metrics
    assert store.finished().keys() == {(record.job.digest, "f" * 16)}
    assert store.damage == []


def test_rows_of_a_newer_schema_version_are_refused(store, record):
    write(store, record)
    newer = pa.array([SCHEMA_VERSION + 1])
    edited(store, record, lambda table: table.set_column(2, "schema_version", newer))
    with pytest.raises(StudyError, match=rf"schema version {SCHEMA_VERSION + 1}, but this .* up to {SCHEMA_VERSION};"):
        store.finished()


def test_each_declared_metric_is_a_float_column_and_comes_back(store, record):
    record.choose_by, record.higher_is_better = "val_rmse", False
    for epoch, row in record.epochs.items():
        for name in [name for name in row if name.startswith(("train_", "val_"))]:
            del row[name]
        row |= {"val_rmse": 3.0 - epoch, "tokens_per_second": 5.0}
    row = trial_row(record, "completed", SPEC) | {"test_rmse": 1.5}
    store.write_trial(row, epoch_tables(record), ("val_rmse", "test_rmse", "tokens_per_second"))
    (trial,) = store.trials()
    assert (row["best_epoch"], trial.choose_by) == (2, "val_rmse")
    assert trial.metrics == {"val_rmse": 1.0, "test_rmse": 1.5, "tokens_per_second": 5.0}
    assert store.curves("val_rmse") == {f"{record.job.digest}-{'f' * 16}": {1: 2.0, 2: 1.0}}


def test_files_of_different_metrics_and_versions_are_merged(store, record):
    write(store, record)
    edited(store, record, lambda table: table.drop_columns(["task", "code", "choose_by", "artifacts"]))
    other = TrialRecord(dataclasses.replace(record.job, fingerprint="e" * 16), 1.0, "val_rmse", False)
    other.epochs = {1: {"epoch": 1, "val_rmse": 0.5}}
    store.write_trial(trial_row(other, "completed", SPEC), epoch_tables(other), ("val_rmse",))
    before = sorted(store.trials(), key=lambda trial: trial.fingerprint)
    assert compact(store) == 2
    after = sorted(store.trials(), key=lambda trial: trial.fingerprint)
    assert [trial.metrics.get("val_rmse") for trial in after] == [0.5, None]
    assert [trial.choose_by for trial in after] == [trial.choose_by for trial in before] == ["val_rmse", None]
    assert after[1].metrics["val_accuracy"] == before[1].metrics["val_accuracy"] == 0.75


def test_the_trials_of_a_run_are_merged_at_its_end_where_they_are_sixteen(store, record):
    names = store.folder / "trials"
    for number in range(16):
        job = dataclasses.replace(record.job, fingerprint=f"{number:016x}")
        write(store, dataclasses.replace(record, job=job))
        if number == 14:
            store.merge()
            assert len(names.names(".parquet")) == 15
    store.merge()
    (name,) = names.names(".parquet")
    assert name.startswith("compact-")
    assert len(store.trials()) == 16


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
    store.write_trial(trial_row(record, "completed", SPEC) | {"config": config}, epoch_tables(record))
    assert store.trials() == []
    assert compact(store) == 0


def test_compaction_names_a_file_that_is_damaged_and_merges_nothing(tmp_path, record):
    store = ResultsStore(str(tmp_path), "tiny")
    write(store, record)
    name = f"{record.job.digest}-{record.job.fingerprint}.parquet"
    pq.write_table(
        pq.read_table(tmp_path / "tiny" / "epochs" / name).drop(["digest"]), tmp_path / "tiny" / "epochs" / name
    )
    with pytest.raises(StudyError, match=rf"epochs/{name}: is damaged"):
        compact(store)
    assert (tmp_path / "tiny" / "trials" / name).exists()
