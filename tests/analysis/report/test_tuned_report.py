"""The report of a tuned ablation: tuned beside untuned, chosen values, budgets, warnings."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from written import train

from analysis.plots.style import arm_styles
from analysis.report.study import write_comparison, write_report
from analysis.report.tuned import tuned_context
from analysis.reproduction.page import write_reproduction
from analysis.stats.budget import budget_curves
from analysis.stats.effects import effects
from analysis.store.load import StudyResults, load_study

pytestmark = pytest.mark.slow

TREE = {
    "name": "tuned",
    "question": "Which norm is best when each is tuned?",
    "baseline": {"data": {"source": "digits"}, "model": {"depth": 8, "norm": "batch"}, "epochs": 1},
    "factors": {"model.norm": ["batch", "group", "none"]},
    "tune": {"space": {"optimizer.lr": {"loguniform": [1e-3, 10.0]}}, "trials": 5, "repeats": 5},
}
BEST = {"batch": -1.0, "group": 0.5, "none": -3.5}


def accuracy(config) -> dict[str, float]:
    """At the baseline's rate batch leads by far; tuned, group is its equal; the best rate of none is out of range."""
    noise = np.random.default_rng([config.seed, len(config.model.norm)]).normal(0, 0.002)
    score = 0.9 - 0.05 * (np.log10(config.optimizer.lr) - BEST[config.model.norm]) ** 2 + noise
    return dict.fromkeys(("val_accuracy", "test_accuracy"), score) | {"val_loss": 1 - score}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return load_study(train(tmp_path_factory.mktemp("tuned"), TREE, accuracy))


@pytest.fixture(scope="module")
def page(study: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> str:
    return words(write_report(study, tmp_path_factory.mktemp("page")))


def words(page: Path) -> str:
    """Return what a reader of the page sees."""
    bare = re.sub(r"<(script|style|svg).*?</\1>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


def test_the_tuned_comparison_stands_beside_the_untuned_one(page: str) -> None:
    assert "2 arms compared with “norm=batch”" in page
    assert re.search(r"norm=group: −1\d\.\d\d points untuned became .*: most of it was tuning\.", page)
    assert "Untuned and tuned differences" in page


def test_an_equivalent_arm_has_the_interval_that_its_test_rests_on(tmp_path: Path) -> None:
    tree = TREE | {"rope": 0.02, "factors": {"model.norm": ["batch", "none"]}}

    def values(config) -> dict[str, float]:
        noise = np.random.default_rng([config.seed, len(config.model.norm)]).normal(0, 0.005)
        return dict.fromkeys(("val_accuracy", "test_accuracy"), 0.9 + noise) | {"val_loss": 0.1}

    results = load_study(train(tmp_path, tree, values))
    table = effects(results)
    [row] = table.itertuples()
    assert row.verdict == "equivalent"
    shown = tuned_context(results, table, arm_styles(results.arms, results.reference_arm))["tuned"]
    ends = [f"{end * 100:+.2f}".replace("-", "−") for end in (row.difference, row.low90, row.high90)]
    assert shown["rows"][0][3] == f"{ends[0]} [{ends[1]}, {ends[2]}] (90 %)"
    assert "(of “equivalent”: the 90 % interval that its test rests on)" in shown["caption"]


def test_verdicts_captions_and_methods_of_a_tuned_study_are_about_repeats(page: str) -> None:
    assert "paired by repeat (5 repeats planned)" in page
    assert "Every repeat of every arm" in page
    assert "over repeats" in page
    assert "both arms completed that repeat" in page
    for wrong in ("paired by seed", "5 seeds", "over seeds", "that seed"):
        assert wrong not in page


@pytest.mark.parametrize(("repeats", "words"), [(1, "but one repeat does not show"), (2, "cannot tell with 2 repeats")])
def test_what_few_repeats_cannot_show_is_said_of_repeats(tmp_path: Path, repeats: int, words: str) -> None:
    tree = TREE | {"factors": {"model.norm": ["batch", "group"]}, "tune": TREE["tune"] | {"repeats": repeats}}
    (row,) = effects(load_study(train(tmp_path, tree, accuracy))).itertuples()
    assert words in row.words
    assert "seed" not in row.words


def test_budget_choices_and_warnings_are_shown(page: str) -> None:
    assert "What a larger budget gains" in page
    assert "What each search chose" in page
    assert "norm=none: the best optimizer.lr was the smallest that was tried in" in page
    assert "Each arm was tuned over optimizer.lr with 5 trials in each of 5 repeats." in page
    for source in ("Choi et al. 2019", "Sivaprasad et al. 2020", "Dahl et al. 2023", "Dodge et al. 2019"):
        assert source in page
    assert "not complete" not in page


def test_before_any_search_is_complete_the_report_says_so(tmp_path: Path) -> None:
    folder = train(tmp_path, TREE, accuracy)
    found = load_study(folder)
    last = found.tuning[found.tuning["trial"] == 4]
    for row in (*last.itertuples(), *found.trials.itertuples()):
        (folder / "trials" / f"{row.digest}-{row.fingerprint}.parquet").unlink()
    text = write_report(load_study(folder), tmp_path).read_text(encoding="utf-8")
    assert "60 trials of the searches inside the arms have ended; no search is complete yet." in text


def test_while_an_arm_has_no_final_training_yet_the_others_are_reported(tmp_path: Path) -> None:
    found = load_study(train(tmp_path, TREE, accuracy))
    early = replace(found, trials=found.trials[found.trials["arm"] != "norm=none"].reset_index(drop=True))
    text = write_report(early, tmp_path).read_text(encoding="utf-8")
    assert "The study is not complete: 5 trainings of its plan are missing." in text
    assert "Untuned and tuned differences" in text


def test_a_study_of_which_parts_are_missing_says_how_many(tmp_path: Path) -> None:
    folder = train(tmp_path, TREE, accuracy)
    gone = load_study(folder).trials.query("arm == 'norm=none'").iloc[0]
    (folder / "trials" / f"{gone['digest']}-{gone['fingerprint']}.parquet").unlink()
    text = write_report(load_study(folder), tmp_path).read_text(encoding="utf-8")
    assert "The study is not complete: 1 training of its plan is missing." in text


def test_a_reproduction_counts_the_trials_of_the_searches(study: StudyResults, tmp_path: Path) -> None:
    page, text, *_ = write_reproduction([study], tmp_path)
    for seen in (words(page), text.read_text(encoding="utf-8")):
        assert "90 of 90 trials completed" in seen  # 3 arms x 5 repeats x (5 trials and a final cell)
        assert "1 study, 90 trials." in seen


def test_a_comparison_of_studies_says_what_its_pairs_are(study: StudyResults, tmp_path: Path) -> None:
    seen = words(write_comparison([study, study], tmp_path))
    assert seen.count("paired by repeat") == 4  # the table and the plot of each study
    assert "paired by seed" not in seen


def test_a_study_of_which_every_trial_diverged_has_a_report(tmp_path: Path) -> None:
    """A loss has no worst value that a lost trial could count as."""
    tune = TREE["tune"] | {"trials": 2, "repeats": 2}
    lost = load_study(train(tmp_path, TREE | {"metric": "test_loss", "tune": tune}, lambda config: {}))
    assert set(lost.trained["status"]) == {"diverged"}
    assert budget_curves(lost).empty
    seen = words(write_report(lost, tmp_path))
    assert "18 of 18 trials did not finish (18 diverged)" in seen
    assert "The order of each arm" not in seen
