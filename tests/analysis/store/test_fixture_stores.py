"""Stores of every released schema version still load, report and count as trained (see tests/stores)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analysis import effects, load_study, write_report
from search_spaces.plan import make_plan
from search_spaces.store_schema import SCHEMA_VERSION
from tune_app.tuning.store.compact import compact
from tune_app.tuning.store.writer import ResultsStore

pytestmark = pytest.mark.slow

STORES = Path(__file__).resolve().parents[2] / "stores"
VERSIONS = sorted(STORES.glob("schema-*"))
EVERY = pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)


def test_there_is_a_store_of_each_version_before_this_one():
    assert {f"schema-{version}" for version in range(1, SCHEMA_VERSION)} <= {folder.name for folder in VERSIONS}


@EVERY
def test_an_ablation_is_read_whole_and_compared(folder: Path):
    results = load_study(folder / "ablation")
    assert results.problems == ()
    assert len(results.other) == 0
    assert results.arms == ("norm=batch", "norm=none")
    assert results.trials["seed"].tolist() == [0, 1, 2] * 2
    assert len(results.epochs) == 12
    assert results.choose_by == "val_accuracy"
    table = effects(results)
    assert table["n"].tolist() == [3]
    means = results.trials.groupby("arm")["test_accuracy"].mean()
    assert table["difference"].iloc[0] == pytest.approx(means["norm=none"] - means["norm=batch"])


@EVERY
def test_a_search_is_read_whole_with_its_values(folder: Path):
    results = load_study(folder / "search")
    assert (results.problems, len(results.other), len(results.trials)) == ((), 0, 6)
    assert set(results.trials["status"]) == {"completed", "pruned"}
    assert results.trials["factor:optimizer.lr"].tolist() == results.trials["optimizer.lr"].tolist()


@EVERY
@pytest.mark.parametrize("name", ["ablation", "search"])
def test_it_has_a_report(folder: Path, name: str, tmp_path: Path):
    page = write_report(load_study(folder / name), tmp_path).read_text(encoding="utf-8")
    assert "6 of 6" in page or "Trials completed" in page


@EVERY
def test_no_cell_of_an_ablation_is_missing_for_the_writer(folder: Path):
    store = ResultsStore(str(folder), "ablation")
    spec = load_study(folder / "ablation").spec
    assert spec is not None
    assert {cell.digest for cell in make_plan(spec).cells} == {digest for digest, _ in store.finished()}
    assert store.damage == []
    assert {trial.metrics["test_accuracy"] is not None for trial in store.trials()} == {True}


@EVERY
def test_the_writer_reads_the_trials_and_curves_of_a_search(folder: Path):
    store = ResultsStore(str(folder), "search")
    trials = store.trials()
    curves = store.curves("val_accuracy")
    assert len(trials) == len(curves) == 6
    epochs = {f"{trial.digest}-{trial.fingerprint}": trial.status for trial in trials}
    assert {len(curves[key]) == 3 for key, status in epochs.items() if status == "completed"} == {True}
    assert store.damage == []


@EVERY
def test_it_can_be_compacted_by_this_release(folder: Path, tmp_path: Path):
    shutil.copytree(folder / "ablation", tmp_path / "ablation")
    before = load_study(tmp_path / "ablation")
    assert compact(ResultsStore(str(tmp_path), "ablation")) == 6
    after = load_study(tmp_path / "ablation")
    assert after.problems == ()
    assert after.trials["test_accuracy"].tolist() == before.trials["test_accuracy"].tolist()
    assert after.epochs["val_loss"].tolist() == before.epochs["val_loss"].tolist()
