"""Tuned arms that chose the same values have the same cell, and each of them its row."""

import pytest

import tune_app
from analysis import effects, load_study, write_report
from analysis.stats.budget import budget_curves
from analysis.stats.cost import cost_by_arm, usage

pytestmark = pytest.mark.slow


def score(context, kind: str = "a", lr: float = 0.1):
    better = {"a": 0.8, "b": 0.5}[kind] - (lr - 0.1) ** 2 + 0.001 * context.seed
    yield {"val_score": better}
    yield context.final({"test_score": better})


STUDY = {
    "name": "shared",
    "task": {"run": score},
    "baseline": {"args": {"kind": "a"}, "epochs": 1},
    "factors": {"args.kind": ["a", "b"]},
    "metrics": {"val_score": {"better": "higher"}, "test_score": {"better": "higher"}},
    "metric": "test_score",
    "tune": {
        "space": {"args.lr": [0.1, 0.2]},
        "extra": {"kind=b": {"args.kind": ["a", "b"]}},
        "trials": 8,
        "repeats": 3,
    },
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    tune_app.run(STUDY, results=str(folder), executor="inline")
    return folder / "shared"


def test_an_arm_that_contains_another_and_chooses_its_values_keeps_its_pairs(store):
    found = load_study(store)
    assert found.problems == ()
    chosen = found.trials.set_index(["arm", "repeat"])
    assert len(chosen) == 6
    assert chosen.loc["kind=b"]["args.kind"].tolist() == ["a"] * 3
    assert chosen.loc["kind=a"]["digest"].tolist() == chosen.loc["kind=b"]["digest"].tolist()
    (row,) = effects(found).itertuples()
    assert (row.n, row.lost, row.not_run, row.difference) == (3, 0, 0, 0.0)
    assert len(found.trained) == found.trained["digest"].nunique() == len(list((store / "trials").iterdir()))
    assert found.other.empty


def test_the_search_of_an_arm_has_the_trials_that_it_shares_with_another(store):
    found = load_study(store)
    per_search = found.tuning.groupby(["arm", "repeat"])["args.lr"].agg(lambda values: len(set(values)))
    assert (per_search == 2).all()
    assert set(found.tuning[found.tuning["arm"] == "kind=b"]["args.kind"]) == {"a", "b"}
    assert budget_curves(found).groupby("arm")["repeats"].first().tolist() == [3, 3]


def test_the_searches_count_as_cost_of_their_arms_and_a_shared_cell_counts_once(store):
    found = load_study(store)
    seconds = found.trained["seconds"] * found.trained["cpus"]
    assert usage(found).cpu_hours == pytest.approx(seconds.sum() / 3600)
    assert cost_by_arm(found)["trials"].sum() == len(found.trained)


def test_a_complete_study_whose_arms_share_final_cells_is_complete(store, tmp_path):
    page = write_report(load_study(store), tmp_path).read_text(encoding="utf-8")
    assert "The study is not complete" not in page
