"""Tuned ablations: which rows are trials and which are final cells, tuned beside untuned, warnings, budget curves."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from written import train

from analysis.plots.style import arm_styles
from analysis.plots.tuned import draw_tuned
from analysis.stats.effects import effects
from analysis.stats.tuned import chosen_values, edge_counts, spent, tuned_comparison, tuning_warnings, untuned
from analysis.store.load import StudyResults, load_study
from analysis.store.tuned import SUPERSEDED, UNFINISHED
from bench.tuned_simulations import tuned_verdicts
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from

pytestmark = pytest.mark.slow

RATES = {"optimizer.lr": {"loguniform": [1e-3, 10.0]}}
BEST = {"batch": -0.5, "group": -1.5, "none": -2.0}
TREE = {
    "name": "tuned",
    "baseline": {"data": {"source": "digits"}, "model": {"depth": 8, "norm": "batch"}, "epochs": 1},
    "factors": {"model.norm": ["batch", "group", "none"]},
    "tune": {"space": RATES, "trials": 9, "repeats": 6},
    "rope": 0.001,
}


def accuracy(config) -> dict[str, float]:
    """Each norm has its own best rate; tuned, batch and group are equal and none is 5 points worse."""
    noise = np.random.default_rng([config.seed, len(config.model.norm)]).normal(0, 0.002)
    rate = np.log10(config.optimizer.lr)
    score = 0.9 - 0.05 * (config.model.norm == "none") - 0.05 * (rate - BEST[config.model.norm]) ** 2 + noise
    return dict.fromkeys(("val_accuracy", "test_accuracy"), score) | {"val_loss": 1 - score}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return load_study(train(tmp_path_factory.mktemp("tuned"), TREE, accuracy))


def test_trials_are_the_final_cells_and_the_search_is_apart(results: StudyResults) -> None:
    assert results.problems == ()
    assert (len(results.trials), len(results.tuning), len(results.other)) == (3 * 6, 3 * 6 * 9, 0)
    assert results.arms == ("norm=batch", "norm=group", "norm=none")
    assert set(results.trials["seed"]) == {1000 + repeat for repeat in range(6)}
    assert results.factors == ("model.norm",)
    for (arm, repeat), group in results.tuning.groupby(["arm", "repeat"]):
        best = group.loc[group["val_accuracy"].idxmax()]
        final = results.trials[(results.trials["arm"] == arm) & (results.trials["repeat"] == repeat)].iloc[0]
        assert (final["trial"], final["optimizer.lr"]) == (best["trial"], best["optimizer.lr"])
    assert len(results.trained) == 3 * 6 * 10


def test_rows_of_the_store_name_the_values_that_they_were_trained_with(results: StudyResults, tmp_path: Path) -> None:
    folder = train(tmp_path, TREE | {"tune": TREE["tune"] | {"trials": 2, "repeats": 1}}, accuracy)
    rows = pd.read_parquet(folder / "trials")
    levels = rows["levels"].map(lambda text: text.count("optimizer.lr"))
    assert (levels == 1).all()
    assert sorted(rows["arm"]) == sorted(
        f"norm={norm}{end}" for norm in ("batch", "group", "none") for end in ("", ", trial 0", ", trial 1")
    )


def test_the_untuned_comparison_is_that_of_the_first_trials(results: StudyResults) -> None:
    plain = untuned(results)
    assert (plain.trials["trial"] == 0).all()
    assert set(plain.trials["optimizer.lr"]) == {0.1}
    spec = study_from(TREE | {"tune": None, "seeds": 6})
    assert set(plain.trials["digest"]) == {cell.digest for cell in make_plan(spec).cells}


def test_a_difference_that_vanishes_when_arms_are_tuned_was_tuning(results: StudyResults) -> None:
    table = tuned_comparison(results).set_index("arm")
    group, none = table.loc["norm=group"], table.loc["norm=none"]
    tuned, plain = effects(results).set_index("arm"), effects(untuned(results)).set_index("arm")
    for row, arm in ((group, "norm=group"), (none, "norm=none")):
        assert row["tuned_difference"] == tuned.loc[arm, "difference"]
        assert row["untuned_verdict"] == plain.loc[arm, "verdict"]
        assert row["change"] == pytest.approx(row["tuned_difference"] - row["untuned_difference"])
        assert row["change_low"] < row["change"] < row["change_high"]
    assert group["untuned_difference"] == pytest.approx(0, abs=0.005)  # 0.1 is half way between both optima
    assert "untuned became" in group["words"]
    assert none["untuned_difference"] == pytest.approx(-0.05 - 0.05 + 0.0125, abs=0.005)
    assert none["tuned_difference"] == pytest.approx(-0.05, abs=0.01)
    assert none["tuned_verdict"] == "worse"
    assert none["words"].endswith("tuned: part of it was tuning")


def test_while_the_baseline_has_no_final_cell_both_comparisons_have_one_reference_arm(results: StudyResults) -> None:
    trials, tuning = results.trials, results.tuning
    shifted = tuning.assign(test_accuracy=tuning["test_accuracy"] - 0.1 * (tuning["arm"] == "norm=batch"))
    early = replace(results, trials=trials[trials["arm"] != "norm=batch"].reset_index(drop=True), tuning=shifted)
    assert (early.reference_arm, untuned(early).reference_arm) == ("norm=group", "norm=batch")
    (row,) = tuned_comparison(early).itertuples()
    plain = effects(untuned(results), reference="norm=group").set_index("arm").loc["norm=none"]
    assert (row.arm, row.untuned_difference) == ("norm=none", plain["difference"])
    assert row.change == pytest.approx(row.tuned_difference - row.untuned_difference)
    (bare,) = tuned_comparison(replace(early, tuning=tuning[tuning["arm"] != "norm=group"])).itertuples()
    assert bare.untuned_n == 0
    assert bare.words.endswith("tuned; the untuned difference is not known")


@pytest.fixture(scope="module")
def containing(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """Two arms, each with a field of its own, whose searches contain the baseline's."""
    recipes = {"heavy": {"optimizer.momentum": 0.95}, "decayed": {"optimizer.weight_decay": 0.001}}
    extra = {
        "recipe=heavy": {"optimizer.momentum": {"uniform": [0.5, 0.99]}},
        "recipe=decayed": {"optimizer.weight_decay": {"uniform": [0.0, 0.01]}},
    }
    tune = TREE["tune"] | {"trials": 2, "repeats": 6, "extra": extra}
    tree = TREE | {"factors": {"recipe": recipes}, "tune": tune}
    return load_study(train(tmp_path_factory.mktemp("containing"), tree, accuracy))


def budget_warnings(containing: StudyResults, behind: float) -> list[str]:
    """Return the warnings where `recipe=heavy` is behind by this much, give or take 0.01, and the others are equal."""
    trials = containing.trials
    lag = np.where(trials["arm"] == "recipe=heavy", behind + 0.01 * (-1.0) ** trials["repeat"], 0)
    changed = replace(containing, trials=trials.assign(test_accuracy=0.9 - lag))
    return [one for one in tuning_warnings(changed) if "can be set to the same values" in one]


def test_a_budget_is_called_too_small_only_where_the_paired_difference_is_shown(containing: StudyResults) -> None:
    p = stats.ttest_1samp([0.02 + 0.01 * sign for sign in (1, -1) * 3], 0).pvalue
    assert budget_warnings(containing, 0.02) == [
        "recipe=heavy can be set to the same values as recipe=baseline and yet does worse by 2.00 points (paired over "
        f"6 repeats, p = {2 * p:.2g} by Holm's method): the budget is too small to tune its further fields."
    ]
    (unsure,) = budget_warnings(containing, 0.0134)  # p is 0.03, and 0.06 by Holm's method over two pairs
    assert "the budget may be too small" in unsure
    assert budget_warnings(containing, 0.01) == []
    assert budget_warnings(containing, -0.02) == []


def words_of(results: StudyResults, tuned: float, plain: float, noise: float = 0.001, seed: int = 0) -> str:
    """Return the words about `norm=none` where its differences are these."""
    rng = np.random.default_rng(seed)

    def shifted(frame: pd.DataFrame, gap: float) -> pd.DataFrame:
        value = 0.9 + gap * (frame["arm"] == "norm=none") + rng.normal(0, noise, len(frame))
        return frame.assign(test_accuracy=value)

    changed = replace(results, trials=shifted(results.trials, tuned), tuning=shifted(results.tuning, plain))
    return str(tuned_comparison(changed).set_index("arm").loc["norm=none", "words"])


def test_words_follow_the_size_and_the_certainty_of_the_change(results: StudyResults) -> None:
    assert words_of(results, 0.003, 0.016).endswith("most of it was tuning")
    assert words_of(results, 0.012, 0.018).endswith("part of it was tuning")
    assert words_of(results, -0.02, 0.02).endswith("tuning reverses the order")
    changed = words_of(results, -0.011, 0.015, noise=0.008, seed=4)
    assert changed.endswith("tuned: the sign changed; the verdict on the tuned arms is “undecided”")
    assert words_of(results, 0.04, 0.02).endswith("gains more from tuning than the reference arm")
    assert words_of(results, -0.04, -0.02).endswith("gains less from tuning than the reference arm")
    assert "the change may be chance (95 % interval" in words_of(results, 0.003, 0.006, noise=0.02, seed=1)


def test_an_arm_whose_final_trainings_were_all_lost_has_no_tuned_difference(results: StudyResults) -> None:
    trials = results.trials.assign(
        status=results.trials["status"].where(results.trials["arm"] != "norm=none", "failed")
    )
    table = tuned_comparison(replace(results, trials=trials))
    words = table.set_index("arm").loc["norm=none", "words"]
    assert re.fullmatch(
        r"−\d\.\d\d points untuned; the tuned difference is not known: in no repeat did .* complete", words
    )
    alt = draw_tuned(table, arm_styles(results.arms, results.reference_arm), metric=results.metric_record()).alt
    assert "nan" not in alt


def test_chosen_values_and_what_the_search_took(results: StudyResults) -> None:
    table = chosen_values(results)
    assert len(table) == 18
    final = results.trials.iloc[3]
    assert table.iloc[3][["arm", "optimizer.lr", "final"]].tolist() == [
        final["arm"], final["optimizer.lr"], final["test_accuracy"],
    ]  # fmt: skip
    taken = spent(results).set_index("arm")
    assert taken.loc["norm=none", ["trials", "lost", "epochs"]].tolist() == [54, 0, 54]


def test_more_trials_may_change_the_choice_and_the_earlier_final_cells_are_kept_apart(tmp_path: Path) -> None:
    small = TREE | {"tune": TREE["tune"] | {"trials": 2, "repeats": 2}}
    before = load_study(train(tmp_path, small, accuracy))
    larger = TREE | {"tune": TREE["tune"] | {"trials": 9, "repeats": 3}}
    after = load_study(train(tmp_path, larger, accuracy))
    assert (len(after.trials), len(after.tuning)) == (9, 3 * 3 * 9)
    assert set(before.tuning["digest"]) <= set(after.tuning["digest"])
    gone = set(before.trials["digest"]) - set(after.trials["digest"])
    assert gone
    assert set(after.other["digest"]) == gone
    assert set(after.other["why"]) == {SUPERSEDED}


def test_a_final_cell_counts_only_when_the_search_is_complete(results: StudyResults, tmp_path: Path) -> None:
    small = TREE | {"tune": TREE["tune"] | {"trials": 3, "repeats": 2}}
    folder = train(tmp_path, small, accuracy)
    lost = load_study(folder).tuning.query("arm == 'norm=none' and repeat == 1 and trial == 2").iloc[0]
    (folder / "trials" / f"{lost['digest']}-{lost['fingerprint']}.parquet").unlink()
    after = load_study(folder)
    assert (len(after.trials), after.other["why"].tolist()) == (5, [UNFINISHED])


def test_lost_trials_count_and_an_arm_without_any_result_loses_its_pair(tmp_path: Path) -> None:
    def values(config):
        diverges = config.model.norm == "none" and config.seed in (1, 1001)
        return {} if diverges else accuracy(config)

    found = load_study(train(tmp_path, TREE, values))
    assert spent(found).set_index("arm").loc["norm=none", "lost"] == 9
    row = effects(found).set_index("arm").loc["norm=none"]
    assert (row["n"], row["lost"], row["arm_lost"]) == (5, 1, 1)
    assert tuned_comparison(found).set_index("arm").loc["norm=none", "untuned_n"] == 5


def test_an_optimum_at_the_edge_of_the_range_is_reported(tmp_path: Path) -> None:
    tree = TREE | {"tune": TREE["tune"] | {"space": {"optimizer.lr": {"loguniform": [0.1, 10.0]}}, "repeats": 4}}
    found = load_study(train(tmp_path, tree, accuracy))
    table = edge_counts(found).set_index("arm")
    assert table.loc["norm=none", ["low", "repeats"]].tolist() == [4, 4]
    words = tuning_warnings(found)
    assert "norm=none: the best optimizer.lr was the smallest that was tried in 4 of 4 repeats" in " ".join(words)
    assert not any("largest" in one for one in words)


def test_an_arm_that_contains_another_and_loses_to_it_had_too_small_a_budget(tmp_path: Path) -> None:
    tree = TREE | {
        "factors": {"recipe": {"heavy": {"optimizer.momentum": 0.95}}},
        "tune": TREE["tune"]
        | {"repeats": 6, "extra": {"recipe=heavy": {"optimizer.momentum": {"uniform": [0.5, 0.99]}}}},
    }

    def values(config):
        loss = 0.1 * (config.optimizer.momentum != 0.9)
        return {name: value - loss for name, value in accuracy(config).items()}

    found = load_study(train(tmp_path, tree, values))
    [sentence] = [one for one in tuning_warnings(found) if "can be set to the same values" in one]
    assert sentence.startswith("recipe=heavy can be set to the same values as recipe=baseline and yet does worse by 10")
    assert chosen_values(found).set_index("arm").loc["recipe=baseline", "optimizer.momentum"].isna().all()


def test_arms_that_are_equal_when_tuned_are_called_different_untuned_and_rarely_tuned() -> None:
    found = tuned_verdicts(studies=150)
    assert found.before.rate > 0.9
    assert found.after.rate <= 0.05 + 3 * found.after.error
