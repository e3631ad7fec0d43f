from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from written import accuracies, train

from analysis import StudyResults, load_study
from analysis.stats.limits import resolution
from analysis.stats.noise import noise_table
from analysis.store import _tables
from analysis.store.cells import natural
from bench.make_store import FINGERPRINT, Truth, write_store
from search_spaces.errors import StudyError
from search_spaces.store_schema import SCHEMA_VERSION, TABLES, TRIALS
from tune_app.tasks.image_training import confusion_column
from tune_app.training import SplitMetrics

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", seeds=2, epochs=3)


def edit(file: Path, change) -> None:
    pq.write_table(change(pq.read_table(file)), file)


def with_value(table: pa.Table, column: str, value) -> pa.Table:
    array = pa.array([value] * table.num_rows, table.schema.field(column).type)
    return table.set_column(table.schema.get_field_index(column), table.schema.field(column), array)


def first(store: Path, table: str = "trials") -> Path:
    return sorted((store / table).glob("*.parquet"))[0]


def test_trials_have_config_fields_and_factors_as_columns(results: StudyResults):
    trials = results.trials
    assert set(TRIALS.names) <= set(trials.columns)
    assert len(trials) == 20
    assert results.problems == ()
    none = trials[trials["arm"] == "norm=none"]
    assert set(none["model.norm"]) == set(none["factor:model.norm"]) == {"none"}
    assert set(none["batch_size"]) == {128}
    assert set(none["factor:batch_size"]) == {"128"}
    assert results.factors == ("model.norm", "batch_size")
    assert (results.reference_arm, results.metric) == ("baseline", "test_accuracy")
    assert (results.rope(), results.rope("val_f1_macro"), results.rope("test_loss")) == (0.005, 0.005, None)


OTHER_RUN = "2" * 16


def test_rows_of_a_trial_from_another_run_are_left_out_and_named_by_file(store: Path):
    whole, file = load_study(store), first(store, "epochs")
    assert "run_id" not in whole.epochs.columns
    edit(file, lambda table: with_value(table, "run_id", OTHER_RUN))
    mixed = load_study(store)
    expected = "rows of `epochs` were written by another run than their trial's own row: left out "
    assert mixed.problems == (f"{expected}(epochs/{file.name})",)
    assert len(mixed.epochs) == len(whole.epochs) - 3
    assert not (mixed.epochs.digest + "-" + mixed.epochs.fingerprint == file.stem).any()


def test_of_rows_of_two_runs_those_of_the_trials_own_run_count(store: Path):
    def of_both(table: pa.Table) -> pa.Table:
        other = with_value(with_value(table, "run_id", OTHER_RUN), "val_accuracy", 0.5)
        return pa.concat_tables([table, other])

    whole = load_study(store)
    edit(first(store, "epochs"), of_both)
    mixed = load_study(store)
    assert mixed.problems == ()
    pd.testing.assert_frame_equal(mixed.epochs, whole.epochs)


def test_rows_of_a_release_without_run_ids_count(tmp_path: Path):
    store = write_store(tmp_path / "store", seeds=1, epochs=3)
    edit(first(store, "epochs"), lambda table: table.drop_columns(["run_id"]))
    edit(first(store), lambda table: table.drop_columns(["run_id"]))
    results = load_study(store)
    assert results.problems == ()
    assert len(results.epochs) == 3 * len(results.trials)


def test_baseline_comes_first_and_numbers_in_order(tmp_path: Path):
    write_store(tmp_path, factors={"batch_size": [8, 128, 16]}, seeds=1, epochs=1)
    assert load_study(tmp_path).arms == ("batch_size=128", "batch_size=8", "batch_size=16")


def test_names_are_in_the_order_of_their_numbers():
    names = ["batch_size=8", "batch_size=16", "lr=1e-05", "lr=0.001", "lr=0.1", "lr=1", "lr=1e+02", "norm=none"]
    by_text = sorted(names)
    assert sorted(by_text, key=natural) == names


def test_epochs_are_joined_with_arm_seed_and_status(results: StudyResults):
    epochs = results.epochs
    assert len(epochs) == 20 * 10
    assert list(epochs["epoch"][:10]) == list(range(1, 11))
    expected = results.trials.set_index("digest")[["arm", "seed", "status"]]
    found = epochs.drop_duplicates("digest").set_index("digest")[["arm", "seed", "status"]]
    pd.testing.assert_frame_equal(found, expected)
    for name in TABLES:
        assert set(TABLES[name].names) - {"run_id"} <= set(getattr(results, name).columns)
    assert len(results.landscape) == 81
    assert len(results.curvature) == 1
    assert len(results.quantiles) == 800


def test_compacted_store_reads_the_same(tmp_path: Path, results: StudyResults, ablation: Path):
    written = [name for name in TABLES if (ablation / name).exists()]
    assert {"trials", "epochs", "quantiles"} <= set(written)
    for name in written:
        (tmp_path / name).mkdir()
        pq.write_table(pq.read_table(ablation / name), tmp_path / name / "compact-7.parquet")
    (tmp_path / "study.yaml").write_text((ablation / "study.yaml").read_text())
    (tmp_path / "environment.json").write_text((ablation / "environment.json").read_text())
    both = load_study(tmp_path)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(both, name), getattr(results, name))
    assert both.problems == ()


def test_equal_rows_in_a_compacted_and_a_single_file_count_once_silently(store: Path):
    for name in ("trials", "epochs"):
        pq.write_table(pq.read_table(store / name), store / name / "compact-1.parquet")
    results = load_study(store)
    assert len(results.trials) == 8
    assert len(results.epochs) == 24
    assert results.problems == ()


@pytest.mark.parametrize("days", [-1, 1])
def test_of_two_rows_for_one_trial_its_own_file_counts_whatever_the_clock_says(store: Path, days: int):
    own = pq.read_table(first(store))
    compacted = with_value(own, "test_accuracy", 0.123)
    compacted = with_value(compacted, "finished_at", own["finished_at"][0].as_py() + timedelta(days=days))
    pq.write_table(compacted, store / "trials" / "compact-1.parquet")
    results = load_study(store)
    found = results.trials.set_index("digest").loc[own["digest"][0].as_py(), "test_accuracy"]
    assert found == own["test_accuracy"][0].as_py() != 0.123
    assert len(results.trials) == 8
    assert results.problems == ("1 trials have a second row with other figures: the file written last counts",)


def test_of_two_compacted_rows_of_one_trial_the_later_counts(store: Path):
    own = pq.read_table(first(store))
    first(store).unlink()
    for name, days, accuracy in (("a", 1, 0.123), ("b", 0, 0.5)):
        row = with_value(own, "test_accuracy", accuracy)
        row = with_value(row, "finished_at", own["finished_at"][0].as_py() + timedelta(days=days))
        pq.write_table(row, store / "trials" / f"compact-{name}.parquet")
    found = load_study(store).trials.set_index("digest")
    assert found.loc[own["digest"][0].as_py(), "test_accuracy"] == 0.123


@pytest.mark.parametrize("days", [-1, 1])
def test_of_two_fingerprints_for_one_digest_that_of_most_cells_counts_and_it_is_said(store: Path, days: int):
    for name in ("trials", "epochs"):
        old = pq.read_table(first(store, name))
        new = with_value(old, "fingerprint", "0" * 16)
        if name == "trials":
            new = with_value(new, "finished_at", old["finished_at"][0].as_py() + timedelta(days=days))
        pq.write_table(new, store / name / f"{old['digest'][0].as_py()}-{'0' * 16}.parquet")
    results = load_study(store)
    assert set(results.trials["fingerprint"]) == {FINGERPRINT}
    assert (len(results.trials), len(results.epochs)) == (8, 24)
    assert results.other[["fingerprint", "why"]].to_numpy().tolist() == [
        ["0" * 16, "trained on another version of the data"]
    ]
    [problem] = results.problems
    assert "two versions of the data" in problem
    assert "seed" in problem


def test_a_row_of_a_digest_that_the_study_does_not_have_is_kept_apart(store: Path):
    old = pq.read_table(first(store))
    new = with_value(with_value(old, "digest", "a" * 16), "finished_at", old["finished_at"][0].as_py() + timedelta(1))
    pq.write_table(new, store / "trials" / f"{'a' * 16}-{FINGERPRINT}.parquet")
    results = load_study(store)
    assert len(results.trials) == 8
    assert results.other["digest"].tolist() == ["a" * 16]
    assert results.other["why"].tolist() == ["not a cell of the current study"]
    assert results.problems == ()


def test_search_keeps_every_trial_of_an_arm_and_seed(tmp_path: Path):
    write_store(tmp_path, space={"optimizer.lr": {"loguniform": [0.01, 1]}}, trials=12, epochs=9)
    edit(first(tmp_path), lambda table: with_value(table, "arm", "t00001"))
    results = load_study(tmp_path)
    assert len(results.trials) == 12
    lr = results.trials["optimizer.lr"]
    assert results.trials["arm"].tolist() == [f"lr={value:.6g}" for value in lr]
    assert results.trials["factor:optimizer.lr"].tolist() == lr.tolist()
    assert results.problems == ()
    assert {"pruned", "completed"} == set(results.trials["status"])
    assert results.trials["factor:optimizer.lr"].dtype == float


def test_temporary_files_are_passed_over(store: Path):
    for name in (".half.parquet", "half.parquet.tmp", "notes.txt"):
        (store / "trials" / name).write_bytes(b"PAR1 half")
    assert load_study(store).problems == ()


@pytest.mark.parametrize("times", [1, _tables._TRIES])
def test_files_that_a_run_merges_while_they_are_read_are_not_missed(ablation: Path, tmp_path: Path, monkeypatch, times):
    store, whole, listed, left = tmp_path / "store", load_study(ablation), _tables._files, [times]
    shutil.copytree(ablation, store)

    def merged_after(filesystem, folder: str, problems):
        found = listed(filesystem, folder, problems)
        if folder.endswith("/epochs") and left[0]:
            left[0] -= 1
            table = pa.concat_tables([pq.read_table(path) for path in found[0]])
            pq.write_table(table, f"{folder}/compact-{left[0]}.parquet")
            for path in found[0]:
                Path(path).unlink()
        return found

    monkeypatch.setattr(_tables, "_files", merged_after)
    if times == _tables._TRIES:  # a file that is listed and never there
        with pytest.raises(FileNotFoundError, match="epochs"):
            load_study(store)
        return
    found = load_study(store)
    pd.testing.assert_frame_equal(found.epochs, whole.epochs)
    assert found.problems == ()


def test_a_remote_folder_that_comes_while_it_is_listed_is_listed_again(ablation: Path, monkeypatch):
    memory = fsspec.filesystem("memory")
    memory.put(str(ablation), "/coming", recursive=True)
    missed, is_folder = [], type(memory).isdir

    def comes(self, path: str) -> bool:
        if path.endswith("epochs") and not missed:
            missed.append(path)
            return False
        return is_folder(self, path)

    monkeypatch.setattr(type(memory), "isdir", comes)
    try:
        assert len(load_study("memory://coming").epochs) == len(load_study(ablation).epochs)
    finally:
        memory.rm("/coming", recursive=True)
    assert missed


def test_corrupt_file_is_named_and_the_rest_is_read(store: Path):
    file = first(store)
    file.write_bytes(file.read_bytes()[:-100])
    results = load_study(store)
    assert len(results.trials) == 7
    assert len(results.epochs) == 21
    assert any("cannot be read" in p and file.name in p for p in results.problems)
    assert any("unfinished" in p and "`epochs`" in p for p in results.problems)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns(["mode"]), "column `mode` is missing"),
        (
            lambda t: t.set_column(t.schema.get_field_index("seconds"), "seconds", pa.array(["soon"])),
            "column `seconds` is string, not double",
        ),
        (lambda t: with_value(t, "status", "lost"), "unknown status 'lost'"),
        (lambda t: with_value(t, "config", "{"), "`config` of a trial is not a JSON object"),
    ],
)
def test_odd_row_is_read_and_told(store: Path, change, words: str):
    edit(first(store), change)
    results = load_study(store)
    assert len(results.trials) == 8
    assert [problem for problem in results.problems if words in problem]


def test_absent_nullable_columns_are_null_and_unknown_ones_ignored_silently(store: Path):
    edit(first(store), lambda t: t.drop_columns(["node", "choose_by", "test_f1_macro"]))
    edit(first(store), lambda t: t.append_column("mood", pa.array(["good"])))
    results = load_study(store)
    assert results.problems == ()
    assert "mood" not in results.trials
    assert results.trials[["node", "choose_by", "test_f1_macro"]].isna().sum().tolist() == [1, 8, 1]


def test_further_float_columns_are_metrics_and_files_may_differ(store: Path):
    edit(first(store), lambda t: t.append_column("test_rmse", pa.array([1.5], pa.float32())))
    edit(first(store, "epochs"), lambda t: t.append_column("val_rmse", pa.array([3.0, 2.0, 1.0])))
    results = load_study(store)
    assert results.problems == ()
    assert results.trials["test_rmse"].dropna().tolist() == [1.5]
    assert results.epochs["val_rmse"].dropna().tolist() == [3.0, 2.0, 1.0]
    assert len(results.epochs) == 24


def test_a_newer_schema_version_is_refused_and_both_versions_are_named(store: Path):
    edit(first(store), lambda t: with_value(t, "schema_version", SCHEMA_VERSION + 1))
    with pytest.raises(StudyError, match=rf"schema version {SCHEMA_VERSION + 1}, .* versions up to {SCHEMA_VERSION}"):
        load_study(store)


def test_row_without_its_digest_is_left_out_and_told(store: Path):
    edit(first(store), lambda table: table.drop_columns(["digest"]))
    results = load_study(store)
    assert len(results.trials) == 7
    assert any("lack digest" in problem for problem in results.problems)


def test_one_fault_in_many_files_makes_one_sentence(store: Path):
    for file in (store / "trials").glob("*.parquet"):
        edit(file, lambda table: table.drop_columns(["mode"]))
    [problem] = load_study(store).problems
    assert "and 5 more" in problem


def test_narrower_types_of_a_rewritten_file_are_widened(store: Path):
    edit(first(store), lambda t: t.set_column(t.schema.get_field_index("seed"), "seed", pc.cast(t["seed"], pa.int32())))
    assert load_study(store).problems == ()


def test_missing_tables_and_documents_are_told(store: Path):
    for file in (store / "epochs").glob("*"):
        file.unlink()
    (store / "epochs").rmdir()
    (store / "study.yaml").write_text("a: [")
    (store / "environment.json").unlink()
    results = load_study(store)
    assert results.epochs.empty
    assert {"epoch", "arm", "seed", "status"} <= set(results.epochs.columns)
    assert results.name == "store"
    assert results.reference_arm == "baseline"
    assert {problem.split(" ")[0] for problem in results.problems} == {"study.yaml", "environment.json"}


def test_empty_store_says_that_no_trial_has_finished(tmp_path: Path):
    (tmp_path / "study.yaml").write_text("- a list")
    results = load_study(tmp_path)
    assert results.trials.empty
    assert any("no trial has finished" in problem for problem in results.problems)
    with pytest.raises(StudyError, match="no trials yet"):
        _ = results.reference_arm


def test_missing_store_and_unknown_filesystem_are_refused(tmp_path: Path):
    with pytest.raises(StudyError, match="no such folder"):
        load_study(tmp_path / "nowhere")
    with pytest.raises(StudyError, match="cannot be opened"):
        load_study("nosuch://bucket/study")


def test_fsspec_url_and_file_url_read_as_the_folder_does(ablation: Path, results: StudyResults):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(ablation), "/stores/study", recursive=True)
    for url in ("memory://stores/study", f"file://{ablation}"):
        pd.testing.assert_frame_equal(load_study(url).epochs, results.epochs)
    memory.rm("/stores", recursive=True)


def test_levels_that_are_lists_can_be_grouped_by(store: Path):
    edit(first(store), lambda table: with_value(table, "levels", json.dumps({"model.blocks": [1, 2]})))
    (store / "study.yaml").unlink()  # with it, levels are those of the current study
    results = load_study(store)
    assert (1, 2) in set(results.trials["factor:model.blocks"])


def test_pandas_polars_and_duckdb_read_the_plain_folder(ablation: Path):
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    expected = pq.read_table(ablation / "epochs")["val_accuracy"].to_numpy()
    total = float(np.sum(expected))
    assert pd.read_parquet(ablation / "epochs")["val_accuracy"].sum() == pytest.approx(total)
    assert polars.read_parquet(f"{ablation}/epochs/*.parquet")["val_accuracy"].sum() == pytest.approx(total)
    with duckdb.connect() as connection:
        query = f"select sum(val_accuracy), count(*) from '{ablation}/epochs/*.parquet'"
        [row] = connection.sql(query).fetchall()
    assert row == pytest.approx((total, len(expected)))


def test_analysis_and_all_its_modules_load_neither_torch_nor_ray():
    script = (
        "import importlib, pkgutil, sys, analysis\n"
        "for module in pkgutil.walk_packages(analysis.__path__, 'analysis.'): importlib.import_module(module.name)\n"
        "print([name for name in ('torch', 'ray', 'tune_app') if name in sys.modules])"
    )
    repository = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout.strip() == "[]"


def test_invented_figures_hold_to_their_truth(tmp_path: Path):
    truth = Truth({"model.norm=none": -0.05}, seed_sd=0, noise_sd=0, test_images=1000)
    trials = load_study(write_store(tmp_path, truth=truth, epochs=2, extras=False)).trials
    assert trials.groupby("arm")["test_accuracy"].mean()["norm=none"] == pytest.approx(0.80)
    confusion = np.stack(trials["test_confusion"])
    np.testing.assert_allclose(confusion[:, ::6].sum(axis=1) / confusion.sum(axis=1), trials["test_accuracy"])


def test_trials_of_a_thousand_classes_are_read(tmp_path: Path):
    classes, images = 1000, 50_000
    cells = np.random.default_rng(0).integers(0, classes**2, images)
    matrix = np.bincount(cells, minlength=classes**2)
    column = confusion_column(SplitMetrics({}, tuple(matrix.tolist())))
    tree = {"name": "large", "baseline": {"epochs": 1}, "factors": {"model.norm": ["batch", "none"]}, "seeds": 10}
    results = load_study(train(tmp_path, tree, lambda config: accuracies(config) | {"test_confusion": column}))
    assert (len(results.trials), results.problems) == (20, ())
    assert resolution(results, "test_accuracy") == 1 / images
    assert noise_table(results)["test_images"].tolist() == [images] * 2
    assert confusion_column(SplitMetrics({}, (3, 1, 0, 4))) == [3, 1, 0, 4]
