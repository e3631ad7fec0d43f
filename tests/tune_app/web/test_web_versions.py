"""Cells that were trained on two versions of the data, or are in two files, count once: as in `analysis.load_study`."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from analysis import load_study
from bench.make_store import FINGERPRINT, write_store
from tune_app.storage import Folder
from tune_app.web.current import one_row_per_trial
from tune_app.web.curves import curves
from tune_app.web.index import StudyIndex
from tune_app.web.summaries import detail

pytestmark = pytest.mark.slow

NEW = "0" * 16


def replaced(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, values)


def train_again(store, cells):
    """Write the rows of the first cells once more: of other images, a day later, one point better."""
    for file in sorted((store / "trials").glob(f"*-{FINGERPRINT}.parquet"))[:cells]:
        name = file.name.replace(FINGERPRINT, NEW)
        for part in ("trials", "epochs"):
            table = pq.read_table(store / part / file.name)
            table = replaced(table, "fingerprint", pa.array([NEW] * len(table)))
            if part == "trials":
                table = replaced(table, "finished_at", pc.add(table["finished_at"], timedelta(days=1)))
                table = replaced(table, "test_accuracy", pc.add(table["test_accuracy"], 0.01))
            pq.write_table(table, store / part / name)


@pytest.mark.parametrize(("again", "counts"), [(3, FINGERPRINT), (20, NEW)])
def test_one_version_of_the_data_counts(again, counts, tmp_path):
    store = write_store(tmp_path / "invented", extras=False)
    train_again(store, again)
    study = StudyIndex(Folder(str(store)), "invented")
    study.refresh(0.0)
    shown = detail(study, None)
    assert (shown.ended, shown.planned, shown.state) == (20, 20, "complete")
    assert f"{again} trials were trained on another version of the data and are left out" in shown.problems
    found = load_study(store, tables=()).trials.set_index(["arm", "seed"])
    assert set(found["fingerprint"]) == {counts}
    for cell in shown.cells:
        assert cell.trial.endswith(counts)
        assert cell.value == pytest.approx(found.loc[cell.arm, cell.seed]["test_accuracy"])
    assert {curve.n for curve in curves(study, "val_loss", "arm", (), 60, 300).curves} == {5}


def test_an_arm_that_has_only_other_data_is_left_out_as_in_the_report(tmp_path):
    store = write_store(tmp_path / "invented", extras=False)
    train_again(store, 20)
    arms = load_study(store, tables=()).trials.set_index("digest")["arm"]
    for digest, arm in arms.items():
        gone = FINGERPRINT if arm == "norm=none" else NEW
        for part in ("trials", "epochs"):
            (store / part / f"{digest}-{gone}.parquet").unlink()
    study = StudyIndex(Folder(str(store)), "invented")
    study.refresh(0.0)
    shown = detail(study, None)
    found = load_study(store, tables=()).trials
    assert set(found["arm"]) == set(arms) - {"norm=none"}
    assert {cell.trial for cell in shown.cells if cell.trial} == set(found["digest"] + "-" + found["fingerprint"])
    assert {cell.state for cell in shown.cells if cell.arm == "norm=none"} == {"missing"}
    assert (shown.ended, shown.state) == (15, "incomplete")
    assert "5 trials were trained on another version of the data and are left out" in shown.problems


def test_of_a_search_one_version_of_the_data_counts(tmp_path):
    space = {"optimizer.lr": {"loguniform": [0.001, 1.0]}}
    store = write_store(tmp_path / "search", space=space, name="search", trials=6, epochs=2, extras=False)
    train_again(store, 6)
    study = StudyIndex(Folder(str(store)), "search")
    study.refresh(0.0)
    shown = detail(study, None)
    assert (shown.ended, len(shown.cells)) == (6, 6)
    assert all(cell.trial.endswith(NEW) for cell in shown.cells)


def test_a_page_shows_the_problems_of_its_effects(make_site, tmp_path):
    train_again(write_store(tmp_path / "results" / "invented", extras=False), 3)
    client = make_site(tmp_path / "results").client()
    for path in ("/studies/invented", "/compare?study=invented"):
        assert '<p class="warning">a cell has results on two versions of the data' in client.get(path).text


def test_of_two_rows_of_a_trial_that_of_its_own_file_counts_else_the_later_one():
    def row(at):
        return {"digest": "d", "fingerprint": "f", "finished_at": at}

    early, late, own = row(1.0), row(2.0), row(None)
    compacted = [("compact-a.parquet", [late]), ("compact-b.parquet", [early])]
    assert one_row_per_trial(compacted) == {"d-f": late}
    assert one_row_per_trial([*compacted, ("d-f.parquet", [own])]) == {"d-f": own}
