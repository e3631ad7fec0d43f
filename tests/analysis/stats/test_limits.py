"""What lost runs count as, and which cells are lost: both decide whether a verdict is withheld."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.report.words import effect_rows
from analysis.stats.effects import effects
from analysis.stats.limits import chance_level, lost_cells, resolution
from analysis.stats.pairs import metric_table
from analysis.store.load import StudyResults, load_study
from bench.make_store import write_store

SEEDS = 8
SPREAD = 0.002


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """Two arms with 8 seeds: the second is 5 points better, with a spread of 0.2 points."""
    folder = write_store(
        tmp_path_factory.mktemp("pair"), factors={"batch_size": [128, 32]}, seeds=SEEDS, epochs=2, extras=False
    )
    results = load_study(folder)
    trials = results.trials.sort_values(["is_baseline", "seed"], ascending=[False, True]).reset_index(drop=True)
    values = np.repeat([0.80, 0.85], SEEDS) + np.random.default_rng(1).normal(0, SPREAD, 2 * SEEDS)
    return replace(results, trials=trials.assign(test_accuracy=values, test_loss=1 - values))


def with_lost(results: StudyResults, count: int, status: str = "diverged") -> StudyResults:
    """Return the results where the first seeds of the better arm gave no result."""
    trials = results.trials
    gone = ~trials["is_baseline"].astype(bool) & (trials["seed"] < count)
    return replace(results, trials=trials.assign(status=trials["status"].mask(gone, status)))


def without_classes(results: StudyResults) -> StudyResults:
    return replace(results, trials=results.trials.drop(columns="classes"))


def test_the_chance_level_of_a_share_of_images_is_one_over_the_number_of_classes(pair: StudyResults) -> None:
    assert {len(names) for names in pair.trials["classes"]} == {5}
    for metric in ("test_accuracy", "val_accuracy", "train_accuracy", "test_f1_micro"):
        assert chance_level(pair, metric) == 1 / 5
    for metric in ("test_loss", "test_f1_macro", "seconds"):
        assert chance_level(pair, metric) is None


def test_without_classes_or_with_several_numbers_of_them_the_chance_level_is_not_known(pair: StudyResults) -> None:
    assert chance_level(without_classes(pair), "test_accuracy") is None
    nothing = pair.trials.assign(classes=None)
    assert chance_level(replace(pair, trials=nothing), "test_accuracy") is None
    some = nothing.copy()
    some.at[0, "classes"] = ["a", "b"]
    assert chance_level(replace(pair, trials=some), "test_accuracy") == 1 / 2
    some.at[1, "classes"] = ["a", "b", "c"]
    assert chance_level(replace(pair, trials=some), "test_accuracy") is None


@pytest.mark.parametrize("status", ["diverged", "failed", "pruned"])
def test_a_cell_is_lost_where_it_was_started_and_gave_no_result(pair: StudyResults, status: str) -> None:
    changed = with_lost(pair, 2, status)
    lost = lost_cells(changed, metric_table(changed), "test_accuracy")
    assert lost.tolist() == [[False] * SEEDS, [True, True] + [False] * 6]
    assert (
        lost_cells(changed, metric_table(changed).iloc[::-1, ::-1], "test_accuracy").tolist()
        == lost[::-1, ::-1].tolist()
    )


def test_a_cell_that_was_not_run_or_succeeded_in_the_end_is_not_lost(pair: StudyResults) -> None:
    table = metric_table(pair)
    assert not lost_cells(pair, table, "test_accuracy").any()
    fewer = replace(pair, trials=pair.trials.iloc[:-1])
    assert not lost_cells(fewer, table, "test_accuracy").any()
    first = pair.trials.tail(1).assign(status="failed")
    retried = replace(pair, trials=pd.concat([first, pair.trials], ignore_index=True))
    assert not lost_cells(retried, table, "test_accuracy").any()
    again = replace(pair, trials=pd.concat([pair.trials, first], ignore_index=True))
    assert np.argwhere(lost_cells(again, table, "test_accuracy")).tolist() == [[1, SEEDS - 1]]


@pytest.mark.parametrize("figure", [np.inf, -np.inf, np.nan])
def test_a_completed_cell_without_a_finite_figure_is_lost(pair: StudyResults, figure: float) -> None:
    trials = pair.trials.assign(val_accuracy=pair.trials["val_accuracy"])
    trials.loc[0, ["test_accuracy", "val_accuracy"]] = figure
    changed = replace(pair, trials=trials)
    assert np.argwhere(lost_cells(changed, metric_table(changed), "test_accuracy")).tolist() == [[0, 0]]
    other = lost_cells(changed, metric_table(changed, "val_accuracy"), "val_accuracy")  # may not have been measured
    assert other.sum() == (0 if np.isnan(figure) else 1)


def words_of(results: StudyResults, metric: str = "test_accuracy") -> tuple[str, str]:
    """Return the verdict and the words of the second arm as the report prints them."""
    (row,) = effect_rows(effects(results, metric), results.metric_record(metric))
    return row["verdict"], row["words"]


def test_a_verdict_is_withheld_where_lost_runs_at_chance_level_change_it(pair: StudyResults) -> None:
    assert words_of(pair)[0] == "better"
    verdict, words = words_of(with_lost(pair, 1))
    assert verdict == "undecided"
    assert words.startswith("undecided, runs were lost: 1 of 8 here, 0 of 8 in the reference arm; ")
    assert "but counting lost runs at chance level changes the verdict" in words


def test_where_no_chance_level_is_known_lost_runs_count_as_the_worst_observed_value(pair: StudyResults) -> None:
    bare = without_classes(pair)
    for results, metric in ((bare, "test_accuracy"), (pair, "test_loss")):
        assert words_of(with_lost(results, 1), metric)[0] == "better"
        verdict, words = words_of(with_lost(results, 5), metric)
        assert verdict == "undecided"
        assert "but counting lost runs at the worst observed value changes the verdict" in words


def test_the_resolution_of_an_accuracy_is_one_test_image(pair: StudyResults) -> None:
    assert resolution(pair, "test_accuracy") == pytest.approx(1 / 10_000, rel=0.01)
    assert resolution(pair, "val_accuracy") == resolution(pair, "test_loss") == 0
