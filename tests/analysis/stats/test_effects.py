from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats.effects import bootstrap_interval, effects, pairwise_effects
from analysis.stats.pairs import metric_table, missing_rule, status_table
from analysis.store.load import StudyResults, load_study
from bench.make_store import Truth, write_store
from search_spaces.errors import StudyError

STATUSES = {("norm=group", 1): "diverged", ("batch_size=32", 4): "failed", ("baseline", 0): "pruned"}


@pytest.fixture(scope="module")
def gapped(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    truth = Truth({"model.norm=none": -0.02}, statuses=STATUSES)
    return load_study(write_store(tmp_path_factory.mktemp("gapped"), truth=truth, extras=False))


def with_metric(results: StudyResults, **arms: Any) -> StudyResults:
    """Return the results with the test accuracies of some arms set, seed by seed."""
    trials = results.trials.copy()
    for arm, values in arms.items():
        name = arm.replace("__", "=")
        trials.loc[trials["arm"] == name, "test_accuracy"] = values
    return dataclasses.replace(results, trials=trials)


def row(table: pd.DataFrame, arm: str) -> pd.Series:
    return table.set_index("arm").loc[arm]


def test_effects_find_the_truth_and_say_it_in_points(results: StudyResults):
    table = effects(results)
    assert list(table["arm"]) == ["batch_size=32", "norm=group", "norm=none"]
    none = row(table, "norm=none")
    assert none.verdict == "worse"
    assert none.low < -0.02 < none.high
    assert none["mean"] - none.reference_mean == pytest.approx(none.difference)
    assert none.words.startswith(f"worse by {-none.difference * 100:.2f} points (95 % interval −")
    assert none.bca_low < none.difference < none.bca_high


def test_rows_are_the_paired_tests_of_the_cells(results: StudyResults):
    table = row(effects(results), "norm=group")
    cells = results.trials.pivot(index="arm", columns="seed", values="test_accuracy")
    expected = stats.ttest_rel(cells.loc["norm=group"], cells.loc["baseline"])
    assert table.p_t == pytest.approx(expected.pvalue)
    assert table.p_holm == pytest.approx(expected.pvalue)  # the largest of three


def test_any_two_arms_can_be_compared(results: StudyResults):
    table = pairwise_effects(results)
    assert len(table) == 6
    pair = table[(table["arm"] == "norm=none") & (table["reference"] == "norm=group")].iloc[0]
    swapped = row(effects(results, reference="norm=none"), "norm=group")
    assert pair.difference == pytest.approx(-swapped.difference)
    assert pair.p_holm > pair.p_t
    assert len(pairwise_effects(results, arms=["baseline", "norm=none"])) == 1


def test_loss_is_better_when_lower(results: StudyResults):
    none = row(effects(results, metric="test_loss"), "norm=none")
    assert none.difference > 0
    assert none.verdict == "worse"
    assert "nats" in none.words
    assert np.isnan(none.equivalent_p)  # the study's rope is in fractions, not in nats
    assert np.isfinite(row(effects(results, metric="test_loss", rope=0.1), "norm=none").equivalent_p)


def test_unknown_metric_and_arm_are_refused_with_a_hint(results: StudyResults):
    with pytest.raises(StudyError, match="did you mean 'test_accuracy'"):
        effects(results, metric="test_acuracy")
    with pytest.raises(StudyError, match="not known whether higher is better"):
        effects(results, metric="best_epoch")
    with pytest.raises(StudyError, match="did you mean 'norm=group'"):
        effects(results, reference="norm=grup")


def test_missing_cells_cost_pairs_and_are_counted(gapped: StudyResults):
    table = effects(gapped).set_index("arm")
    assert table["n"].to_dict() == {"batch_size=32": 3, "norm=group": 3, "norm=none": 4}
    assert table["lost"].to_dict() == {"batch_size=32": 2, "norm=group": 2, "norm=none": 1}
    assert "2 pairs lost" in table.loc["batch_size=32", "words"]
    both = "runs without a result: 1 of 5 here, 1 of 5 in the reference arm (exact test of equal shares: p = 1)"
    assert both in table.loc["norm=group", "words"]
    assert "0 of 5 here, 1 of 5 in the reference arm" in table.loc["norm=none", "words"]
    assert status_table(gapped).loc["norm=group"].to_dict() == {
        "completed": 4,
        "pruned": 0,
        "diverged": 1,
        "failed": 0,
    }


def test_cell_that_did_not_finish_has_no_figure_though_validation_has_one(gapped: StudyResults):
    assert gapped.trials.loc[gapped.trials["status"] == "pruned", "val_accuracy"].notna().all()
    assert np.isnan(metric_table(gapped, "val_accuracy").loc["baseline", 0])


def test_missing_rule_names_each_arm_that_lost_pairs_and_why(gapped: StudyResults, results: StudyResults):
    rule, *losses = missing_rule(gapped)
    assert "not filled in" in rule
    assert losses[0] == "batch_size=32: 2 of 5 pairs lost (batch_size=32: 1 failed; baseline: 1 pruned)."
    assert losses[2] == "norm=none: 1 of 5 pairs lost (baseline: 1 pruned)."
    assert missing_rule(results) == [rule]
    fewer = dataclasses.replace(results, trials=results.trials.drop(index=results.trials.index[-1]))
    assert missing_rule(fewer)[1] == "norm=none: 1 of 5 pairs lost (norm=none: 1 not run)."


def test_missing_rule_names_cells_without_a_finite_figure(results: StudyResults):
    trials = results.trials.copy()
    trials.loc[trials.index[trials["arm"] == "norm=none"][:2], "test_accuracy"] = [np.inf, np.nan]
    lost = missing_rule(dataclasses.replace(results, trials=trials))[1:]
    assert lost == ["norm=none: 2 of 5 pairs lost (norm=none: 2 with no finite figure)."]


@pytest.mark.parametrize("figure", [np.inf, -np.inf])
def test_an_infinite_figure_is_none_and_the_other_pairs_decide(figure: float, tmp_path: Path):
    factors = {"batch_size": [128, 32]}
    found = load_study(write_store(tmp_path, factors=factors, seeds=10, epochs=1, extras=False))
    is_first = found.trials["is_baseline"].astype(bool) & (found.trials["seed"] == 0)
    infinite = found.trials.assign(test_accuracy=found.trials["test_accuracy"].mask(is_first, figure))
    lost = found.trials.assign(status=found.trials["status"].mask(is_first, "failed"))
    one, expected = (effects(dataclasses.replace(found, trials=trials)).iloc[0] for trials in (infinite, lost))
    assert (one.n, one.lost, one.reference_lost, one.verdict) == (9, 1, 1, "undecided")
    shown = ["mean", "reference_mean", "difference", "low", "high", "p_holm", "verdict", "words"]
    assert one[shown].tolist() == expected[shown].tolist()


def test_one_seed_says_what_it_cannot_say(tmp_path: Path):
    truth = Truth({"model.norm=none": -0.5})
    table = effects(load_study(write_store(tmp_path, truth=truth, seeds=1, extras=False)))
    assert set(table["verdict"]) == {"undecided"}
    assert table["words"].str.contains("one seed does not show how much of it is chance").all()
    assert table["interval_note"].str.contains("fewer than 2 pairs").all()


def test_words_of_undecided_equivalent_and_identical(results: StudyResults):
    base = [0.85, 0.86, 0.84, 0.85, 0.83]
    shifted = with_metric(
        results,
        baseline=base,
        norm__none=base,
        norm__group=[x + d for x, d in zip(base, [0.0005, 0.001, 0.0015, 0.0008, 0.0012], strict=True)],
        batch_size__32=[x + d for x, d in zip(base, [0.03, -0.03, 0.01, -0.01, 0.02], strict=True)],
    )
    words = effects(shifted, rope=0.005).set_index("arm")["words"]
    # The test accuracy changes in steps of 1 / N, so its standard deviation is taken as at least that.
    assert words["norm=none"].startswith(
        "equivalent: no difference larger than 0.5 points (90 % interval −0.01 to +0.01"
    )
    shifted = dataclasses.replace(shifted, trials=shifted.trials.assign(test_confusion=None))
    words = effects(shifted, rope=0.005).set_index("arm")["words"]
    assert words["norm=none"].startswith("cannot tell: identical results in all 5 seeds")
    assert words["norm=group"].startswith(
        "equivalent: the difference of +0.10 points is real but smaller than 0.5 points"
    )
    assert "90 % interval" in words["norm=group"]
    assert "smaller than 1 point," in effects(shifted, rope=0.01).set_index("arm")["words"]["norm=group"]
    assert words["batch_size=32"].startswith("cannot tell with 5 seeds")
    assert (
        "with 80 % power these seeds detect a difference of about 5.52 points (3.31 to 15.86" in words["batch_size=32"]
    )
    alone = dataclasses.replace(shifted, trials=shifted.trials[shifted.trials["arm"].isin(["baseline", "norm=none"])])
    assert effects(alone)["words"].iloc[0] == "equivalent: identical results in all 5 seeds"


def test_interval_that_leaves_out_zero_is_no_verdict_among_many(results: StudyResults):
    base = np.array([0.85, 0.86, 0.84, 0.85, 0.83])
    d = np.array([0.001, 0.014, 0.018, 0.020, 0.007])  # t = 3.4, p = 0.027
    noise = np.array([0.03, -0.03, 0.01, -0.01, 0.02])
    shifted = with_metric(
        results, baseline=base, norm__none=base + d, norm__group=base + noise, batch_size__32=base - noise
    )
    none = row(effects(shifted), "norm=none")
    assert none.low > 0
    assert none.p_t < 0.05 < none.p_holm
    assert none.verdict == "undecided"
    assert "leaves out zero, but among 3 comparisons" in none.words


def test_no_common_seed_is_told(results: StudyResults):
    trials = results.trials
    keep = ~((trials["arm"] == "norm=none") & (trials["seed"] < 3)) & ~(
        (trials["arm"] == "baseline") & (trials["seed"] > 2)
    )
    none = row(effects(dataclasses.replace(results, trials=trials[keep])), "norm=none")
    assert (none.n, none.lost, none.not_run, none.verdict) == (0, 0, 5, "undecided")
    assert "5 pairs not run yet" in none.words
    assert none.words.startswith("cannot tell: no seed was completed in both arms")


def test_bootstrap_interval_is_seeded_and_notes_where_it_has_none():
    d = np.random.default_rng(0).exponential(1, 8)
    low, high, note = bootstrap_interval(d)
    assert (low, high, note) == bootstrap_interval(d)
    assert low < d.mean() < high
    assert note == ""
    assert high - d.mean() > d.mean() - low  # BCa follows the skew
    assert np.isnan(bootstrap_interval(np.ones(5))[0])
    assert "all differences are equal" in bootstrap_interval(np.ones(5))[2]
    assert "fewer than 2" in bootstrap_interval(np.ones(1))[2]


def test_bootstrap_falls_back_where_bca_is_undefined(monkeypatch: pytest.MonkeyPatch):
    real = stats.bootstrap

    def undefined_bca(*args, method: str, **options):
        found = real(*args, method="percentile", **options)
        if method == "BCa":
            found.confidence_interval = found.confidence_interval._replace(low=np.nan)
        return found

    monkeypatch.setattr("scipy.stats.bootstrap", undefined_bca)
    low, _, note = bootstrap_interval(np.array([1.0, 2.0, 4.0]))
    assert np.isfinite(low)
    assert "percentile" in note
