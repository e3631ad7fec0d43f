"""Cost of a study: by arm, against its budget, and what pruning saved."""

import pytest

from analysis.report.study import write_report
from analysis.stats.cost import cost_by_arm, limits, saved_by_pruning, usage
from analysis.store.load import load_study
from bench.make_store import write_store

pytestmark = pytest.mark.slow


def test_costs_of_arms_add_up_to_what_the_study_used(tmp_path):
    budget = {"cpu_hours": 1.0, "money": 9.0, "price": {"cpu_hour": 2.0}}
    results = load_study(write_store(tmp_path / "s", extras=False, budget=budget))
    trials = results.trials
    expected = (trials.seconds * trials.cpus).sum() / 3600
    table = cost_by_arm(results)
    assert table["cpu_hours"].sum() == pytest.approx(expected)
    assert table["money"].tolist() == pytest.approx((2.0 * table["cpu_hours"] + 0.0 * table["gpu_hours"]).tolist())
    assert table["trials"].sum() == len(trials)
    assert usage(results).cpu_hours == pytest.approx(expected)
    assert {one.name: one.spent for one in limits(results)} == pytest.approx(
        {"cpu_hours": expected, "money": 2.0 * expected}
    )
    page = write_report(results, tmp_path / "report.html").read_text()
    assert "Budget, cpu_hours" in page
    assert "What each arm took" in page


def test_saved_by_pruning_is_the_rest_of_the_epochs(tmp_path):
    space = {"optimizer.lr": {"loguniform": [0.001, 1.0]}}
    results = load_study(write_store(tmp_path / "s", space=space, trials=30, epochs=9, extras=False))
    pruned = results.trials[results.trials.status == "pruned"]
    assert len(pruned) > 5
    by_hand = (pruned.seconds / pruned.epochs_trained * (9 - pruned.epochs_trained) * pruned.cpus).sum() / 3600
    assert saved_by_pruning(results).cpu_hours == pytest.approx(by_hand)
    assert "Saved by pruning" in write_report(results, tmp_path / "report.html").read_text()


def test_without_a_budget_no_price_is_shown(tmp_path):
    results = load_study(write_store(tmp_path / "s", extras=False))
    assert limits(results) == []
    assert cost_by_arm(results)["money"].isna().all()
    assert "Budget," not in write_report(results, tmp_path / "report.html").read_text()
