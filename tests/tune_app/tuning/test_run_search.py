"""Searches on a real Ray."""

import pytest

from analysis import load_study
from search_spaces.study_files import study_from
from tune_app.tuning.runner import run_study

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]
ONE_WORKER = {"gpu": 0.0, "cpu": 2}
"""Trials run one after the other in one process: for tests that are not about several, since each has to import torch."""


@pytest.fixture
def search_tree(tiny_tree):
    tree = {key: value for key, value in tiny_tree.items() if key not in ("factors", "seeds")}
    return tree | {
        "mode": "search",
        "baseline": tiny_tree["baseline"] | {"epochs": 9},
        "space": {"optimizer.lr": {"loguniform": [1e-5, 0.3]}, "model.norm": ["batch", "none"]},
        "search": {"searcher": "random", "trials": 8, "asha": {"grace_period": 1, "reduction_factor": 3}},
        "resources": {"gpu": 0.0},
        "seeds": 1,
    }


def test_asha_prunes_and_pruned_trials_keep_their_epochs(search_tree, tmp_path):
    summary = run_study(study_from(search_tree), str(tmp_path))
    assert summary.trained == 8
    assert set(summary.counts) == {"completed", "pruned"}
    results = load_study(tmp_path / "tiny")
    pruned = results.trials[results.trials.status == "pruned"]
    assert set(pruned.epochs_trained) <= {1, 3}
    assert pruned.test_accuracy.isna().all()
    assert (
        results.epochs.groupby("digest").epoch.max().to_dict()
        == results.trials.set_index("digest").epochs_trained.to_dict()
    )

    more = study_from(search_tree | {"search": search_tree["search"] | {"trials": 11}})
    again = run_study(more, str(tmp_path))
    assert (again.already, again.trained) == (8, 3)
    assert run_study(more, str(tmp_path)).trained == 0


def test_a_grid_trains_each_config_once_and_stops_there(search_tree, tmp_path):
    tree = search_tree | {
        "resources": ONE_WORKER,
        "space": {"model.norm": ["batch", "none"], "batch_size": [20, 40]},
        "search": {"searcher": "grid", "trials": 100, "asha": None},
        "baseline": search_tree["baseline"] | {"epochs": 1},
    }
    assert dict(run_study(study_from(tree), str(tmp_path)).counts) == {"completed": 4}
    trials = load_study(tmp_path / "tiny").trials
    assert set(trials.attempts) == {1}
    assert sorted(zip(trials["model.norm"], trials["batch_size"], strict=True)) == [
        ("batch", 20), ("batch", 40), ("none", 20), ("none", 40),
    ]  # fmt: skip


def test_a_search_run_again_knows_its_trials_and_leaves_out_those_that_its_space_no_longer_has(search_tree, tmp_path):
    def search(lrs, **changes):
        tree = search_tree | {"space": {"optimizer.lr": lrs}, "resources": ONE_WORKER}
        tree["baseline"] = search_tree["baseline"] | {"epochs": 1}
        return study_from(tree | {"search": {"searcher": "tpe", "trials": 10, "asha": None}} | changes)

    assert run_study(search([1, 0.1, 0.01]), str(tmp_path)).trained == 3  # the field is a float, the study says 1
    again = run_study(search([1, 0.1, 0.001]), str(tmp_path))
    assert (again.already, again.trained) == (2, 1)
    narrowed = run_study(search({"uniform": [0.005, 0.5]}, search={"trials": 2, "asha": None}), str(tmp_path))
    assert (narrowed.already, narrowed.trained) == (2, 0)
