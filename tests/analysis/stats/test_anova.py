from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from analysis.stats.aliases import alias_table, estimable_terms
from analysis.stats.anova import anova
from analysis.store.load import StudyResults, load_study
from bench.make_store import Truth, write_store
from search_spaces.errors import StudyError

FACTORS = {"model.norm": ["batch", "none"], "batch_size": [128, 32], "model.conv_bias": [False, True]}


@pytest.fixture(scope="module")
def factorial(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    truth = Truth({"model.norm=none": -0.02}, arms={"norm=none, batch_size=32": 0.015})
    factors = {"model.norm": ["batch", "group", "none"], "batch_size": [128, 32]}
    folder = tmp_path_factory.mktemp("factorial")
    return load_study(write_store(folder, truth=truth, factors=factors, design="full_factorial", extras=False))


def cells(results: StudyResults) -> pd.DataFrame:
    columns = {"test_accuracy": "y", "seed": "s", "factor:model.norm": "a", "factor:batch_size": "b"}
    done = results.trials[results.trials["status"] == "completed"]
    return done[list(columns)].rename(columns=columns).astype({"s": str})


def residual(data: pd.DataFrame, *terms: tuple[str, ...]) -> float:
    """Residual sum of squares of the model with these terms, from a matrix of dummies."""
    blocks = [np.ones((len(data), 1))]
    for term in terms:
        joint = data[list(term)].astype(str).agg("|".join, axis=1)
        blocks.append(pd.get_dummies(joint).to_numpy(float))
    X = np.hstack(blocks)
    y = data["y"].to_numpy()
    return float(np.sum((y - X @ np.linalg.lstsq(X, y, rcond=None)[0]) ** 2))


def test_balanced_sums_of_squares_by_hand(factorial: StudyResults):
    data = cells(factorial)
    table = anova(factorial).table.set_index("effect")
    grand = data["y"].mean()
    by_hand = sum(10 * (mean - grand) ** 2 for mean in data.groupby("a")["y"].mean())
    assert table.loc["model.norm", "sum_sq"] == pytest.approx(by_hand)
    assert list(table["df"]) == [2, 1, 2]
    assert table.loc["model.norm:batch_size", "p_holm"] < 0.05


def test_unbalanced_sums_of_squares_are_type_two(factorial: StudyResults):
    trials = factorial.trials.copy()
    trials.loc[[1, 7, 8, 20], "status"] = "failed"
    found = anova(dataclasses.replace(factorial, trials=trials))
    data, table = cells(dataclasses.replace(factorial, trials=trials)), found.table.set_index("effect")
    s, a, b, ab = ("s",), ("a",), ("b",), ("a", "b")
    error = residual(data, s, ab)
    assert table.loc["model.norm", "sum_sq"] == pytest.approx(residual(data, s, b) - residual(data, s, a, b))
    assert table.loc["model.norm:batch_size", "sum_sq"] == pytest.approx(residual(data, s, a, b) - error)
    assert found.residual_df == 26 - 1 - 4 - 5
    assert found.residual_sd == pytest.approx(np.sqrt(error / found.residual_df))
    row = table.loc["batch_size"]
    assert row.partial_eta2 == pytest.approx(row.sum_sq / (row.sum_sq + error))
    assert row.partial_omega2 == pytest.approx((row.f - 1) / (row.f - 1 + 26))  # df = 1
    assert row.f == pytest.approx(row.sum_sq / (error / found.residual_df))


def test_one_factor_at_a_time_has_no_interaction_to_estimate(results: StudyResults):
    found = anova(results)
    assert list(found.table["effect"]) == ["model.norm", "batch_size"]
    assert "model.norm:batch_size cannot be estimated" in found.notes[0]


def test_single_seed_full_model_leaves_nothing_to_test(factorial: StudyResults):
    alone = dataclasses.replace(factorial, trials=factorial.trials[factorial.trials["seed"] == 0])
    found = anova(alone)
    assert found.residual_df == 0
    assert found.table["p"].isna().all()
    assert "add seeds" in found.notes[-1]
    assert anova(alone, order=1).residual_df == 2


def test_without_a_varying_factor_there_is_nothing_to_analyse(results: StudyResults):
    alone = dataclasses.replace(results, trials=results.trials[results.trials["arm"] == "baseline"])
    with pytest.raises(StudyError, match="no factor"):
        anova(alone)


def test_half_fraction_names_what_it_cannot_tell_apart(tmp_path):
    design = {"kind": "fractional_factorial", "generator": "a b ab"}
    store = write_store(tmp_path, factors=FACTORS, design=design, extras=False)
    table = anova(load_study(store)).table.set_index("effect")
    assert table.loc["model.norm", "aliased_with"] == "batch_size:model.conv_bias"
    assert list(table.index) == list(FACTORS)


def test_aliases_of_a_two_level_fraction_are_equal_columns_of_signs():
    # 2^(4-1) with D = ABC: AB = CD, AC = BD, AD = BC, and each main effect with a three-factor interaction.
    runs = [(a, b, c, a * b * c) for a, b, c in itertools.product((-1, 1), repeat=3)]
    found = alias_table(pd.DataFrame(runs, columns=list("ABCD"))).set_index("effect")["aliased_with"]
    assert found["A:B"] == "C:D"
    assert found["A:D"] == "B:C"
    assert found["D"] == "A:B:C"
    assert len(found) == 14


def test_full_factorial_has_no_aliases_and_every_effect():
    runs = pd.DataFrame(list(itertools.product("xyz", "uv", "pq")), columns=list("ABC"))
    assert alias_table(runs).empty
    terms = [("A",), ("B",), ("C",), ("A", "B"), ("A", "B", "C")]
    assert estimable_terms(runs, terms) == terms


def test_same_column_twice_is_estimated_once():
    runs = pd.DataFrame({"A": list("xxyy"), "B": list("xxyy"), "C": list("uvuv")})
    assert estimable_terms(runs, [("A",), ("B",), ("C",)]) == [("A",), ("C",)]


def test_f_test_is_statsmodels_nested_model_comparison(factorial: StudyResults):
    data = cells(factorial)
    dummies = pd.get_dummies(data[["s", "a", "b"]], drop_first=True).astype(float)
    full = sm.OLS(data["y"], sm.add_constant(dummies)).fit()
    without = sm.OLS(data["y"], sm.add_constant(dummies.drop(columns="b_32"))).fit()
    f, p, _ = full.compare_f_test(without)
    row = anova(factorial, order=1).table.set_index("effect").loc["batch_size"]
    assert (row.f, row.p) == pytest.approx((f, p))
