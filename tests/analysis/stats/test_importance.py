from __future__ import annotations

import math
import warnings

import optuna
import pytest

from analysis.stats.importance import importances
from analysis.store.load import StudyResults, load_study
from bench.make_store import Truth, write_store

pytestmark = pytest.mark.slow

SPACE = {
    "optimizer.lr": {"loguniform": [0.001, 1.0]},
    "batch_size": {"int": [32, 128, 32]},
    "model.norm": ["batch", "none"],
}


def search(folder, trials: int, asha: dict | None = None) -> StudyResults:
    truth = Truth(score=lambda v: -0.1 * (math.log10(v["optimizer.lr"]) + 1) ** 2 - 0.02 * (v["model.norm"] == "none"))
    return load_study(
        write_store(folder, space=SPACE, truth=truth, trials=trials, epochs=2, extras=False, search={"asha": asha})
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    results = search(tmp_path_factory.mktemp("search"), 120)
    trials = results.trials.copy()
    trials["status"] = "completed"
    trials["val_accuracy"] = trials["val_accuracy"].where(
        trials["epochs_trained"] == 2,
        [0.85 - 0.1 * (math.log10(lr) + 1) ** 2 for lr in trials["optimizer.lr"]],
    )
    return type(results)(**{**vars(results), "trials": trials})


def test_factor_that_matters_leads_in_both(finished: StudyResults):
    found = importances(finished)
    assert found.trials == 120
    assert found.table["factor"].iloc[0] == "optimizer.lr"
    assert found.table["ped_anova"].idxmax() == 0
    assert found.table[["fanova", "ped_anova"]].sum().tolist() == pytest.approx([1, 1])
    assert found.warnings == ()


def test_same_seed_gives_the_same_shares_and_optuna_is_left_as_it_was(finished: StudyResults):
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = importances(finished, seed=1), importances(finished, seed=1)
    assert first.table.equals(second.table)
    assert optuna.logging.get_verbosity() == before


def test_few_trials_are_told(tmp_path):
    found = importances(search(tmp_path, 12, {"grace_period": 1}))
    said = " ".join(found.warnings)
    assert "pruned trials are left out" in said
    assert found.trials < 12


def test_too_few_trials_give_no_share(tmp_path):
    found = importances(search(tmp_path, 2))
    assert found.table.empty
    assert "too few" in found.warnings[0]


def test_few_but_some_are_warned_of_and_constants_named(finished: StudyResults):
    part = finished.trials[finished.trials["model.norm"] == "batch"].head(10)
    found = importances(type(finished)(**{**vars(finished), "trials": part}))
    assert "10 completed trials for 2 factors are few" in found.warnings[0]
    assert "no share for model.norm" in found.warnings[1]
    assert set(found.table["factor"]) == {"optimizer.lr", "batch_size"}


def test_ablation_levels_are_categories(results: StudyResults):
    found = importances(results)
    assert set(found.table["factor"]) == {"model.norm", "batch_size"}
    assert found.table["factor"].iloc[0] == "model.norm"


def test_continuous_levels_without_a_stated_space_are_a_range(finished: StudyResults):
    unstated = type(finished)(**{**vars(finished), "spec": None})
    assert importances(unstated).table["factor"].iloc[0] == "optimizer.lr"


def test_equal_trials_give_no_shares_and_say_so(finished: StudyResults):
    same = type(finished)(**{**vars(finished), "trials": finished.trials.assign(val_accuracy=1.0)})
    found = importances(same)
    assert found.table.empty
    assert "all completed trials have the same validation accuracy: no factor has a share" in found.warnings


def test_a_null_choice_is_a_level_like_any_other(finished: StudyResults):
    norm = finished.trials["factor:model.norm"]
    trials = finished.trials.assign(**{"factor:model.norm": norm.where(norm == "batch", None)})
    found, expected = importances(type(finished)(**{**vars(finished), "trials": trials})), importances(finished)
    assert set(found.table["factor"]) == set(expected.table["factor"])
    assert found.warnings == ()
    unstated = type(finished)(**{**vars(finished), "trials": trials, "spec": None})
    assert "model.norm" in set(importances(unstated).table["factor"])
