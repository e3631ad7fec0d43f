"""Budget curves of tuned ablations: the estimator, the repeats that count, lost trials, points that were drawn twice."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from written import train

from analysis.stats.budget import best_of_budget, budget_curves, crossings
from analysis.stats.tuned import untuned
from analysis.store.load import StudyResults, load_study

pytestmark = pytest.mark.slow

TREE = {
    "name": "budget",
    "baseline": {"data": {"source": "digits"}, "model": {"depth": 8, "norm": "batch"}, "epochs": 1},
    "factors": {"model.norm": ["batch", "group"]},
    "tune": {"space": {"batch_size": {"int": [30, 40]}}, "trials": 8, "repeats": 6},
}


def accuracy(config) -> dict[str, float]:
    """Return values that differ between any two cells."""
    noise = np.random.default_rng([config.seed, len(config.model.norm), config.batch_size]).normal(0, 0.02)
    score = 0.8 + 0.01 * (config.batch_size - 35) + noise
    return dict.fromkeys(("val_accuracy", "test_accuracy"), score) | {"val_loss": 1 - score}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return load_study(train(tmp_path_factory.mktemp("budget"), TREE, accuracy))


def test_a_repeat_in_which_a_point_was_drawn_twice_is_not_left_out(results: StudyResults) -> None:
    own = results.tuning[results.tuning["arm"] == "norm=group"]
    assert own.groupby("repeat").size().tolist() == [8, 8, 7, 8, 8, 7]
    table = budget_curves(results)
    assert set(table["repeats"]) == {6}
    last = table[(table["arm"] == "norm=group") & (table["trials"] == 8)].iloc[0]
    assert last["mean"] == pytest.approx(own.groupby("repeat")["val_accuracy"].max().mean())


def test_the_value_of_a_point_that_was_drawn_twice_counts_for_both_trials(tmp_path: Path) -> None:
    tune = {"space": {"batch_size": {"int": [30, 31]}}, "trials": 4, "repeats": 1}
    found = load_study(train(tmp_path, TREE | {"tune": tune}, accuracy))
    assert found.spec is not None
    assert found.spec.tune is not None
    points = [found.spec.baseline.batch_size, *(p["batch_size"] for p in found.spec.tune.points("norm=batch", 0))]
    assert len(set(points)) < len(points)
    own = found.tuning[found.tuning["arm"] == "norm=batch"].set_index("batch_size")["val_accuracy"]
    table = budget_curves(found)
    drawn = best_of_budget(np.array([own[point] for point in points]))
    np.testing.assert_allclose(table.loc[table["arm"] == "norm=batch", "mean"], drawn)


def test_a_repeat_of_which_a_trial_is_missing_is_left_out(results: StudyResults) -> None:
    gone = results.tuning.query("arm == 'norm=group' and repeat == 0").index[3]
    table = budget_curves(replace(results, tuning=results.tuning.drop(gone)))
    assert table.groupby("arm")["repeats"].max().to_dict() == {"norm=batch": 6, "norm=group": 5}


def test_the_best_of_a_budget_is_the_mean_over_all_subsets_that_hold_the_first_trial() -> None:
    values = np.array([0.4, 0.1, 0.9, 0.5, 0.3])
    for sign, best in ((True, max), (False, min)):
        expected = [
            np.mean([best(values[0], *values[list(rest)]) for rest in itertools.combinations(range(1, 5), k)])
            if k
            else values[0]
            for k in range(5)
        ]
        assert best_of_budget(values, higher_is_better=sign) == pytest.approx(expected)
    assert best_of_budget(values[:1]).tolist() == [0.4]


def test_budget_curves_are_means_over_repeats_with_t_intervals(results: StudyResults) -> None:
    table = budget_curves(results)
    assert len(table) == 2 * 8
    assert set(table["repeats"]) == {6}
    last = table[(table["arm"] == "norm=group") & (table["trials"] == 8)].iloc[0]
    best = results.tuning[results.tuning["arm"] == "norm=group"].groupby("repeat")["val_accuracy"].max()
    assert last["mean"] == pytest.approx(best.mean())
    assert last["high"] - last["mean"] == pytest.approx(2.5706 * best.std() / np.sqrt(6), rel=1e-4)
    first = table[(table["arm"] == "norm=group") & (table["trials"] == 1)].iloc[0]
    assert first["mean"] == pytest.approx(untuned(results).trials.query("arm == 'norm=group'")["val_accuracy"].mean())


def test_a_lost_trial_counts_as_the_worst_value_of_the_metric(results: StudyResults) -> None:
    tuning = results.tuning.copy()
    tuning.loc[tuning["trial"] == 0, "status"] = "diverged"
    curves = budget_curves(replace(results, tuning=tuning))
    assert (curves.loc[curves["trials"] == 1, "mean"] == 0).all()


def test_crossings_are_where_the_order_of_the_means_changes() -> None:
    def curve(arm, values):
        return pd.DataFrame({"arm": arm, "trials": range(1, 5), "mean": values})

    curves = pd.concat([curve("a", [1, 2, 3, 4]), curve("b", [0, 2, 4, 5]), curve("c", [0, 1, 2, 3])])
    assert crossings(curves, "a") == [("b", 3, True)]
