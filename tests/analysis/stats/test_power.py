from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from analysis.stats.power import achieved_power, sd_interval, seeds_needed, smallest_difference
from analysis.stats.seed_table import seed_table
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError


@pytest.mark.parametrize(("sd", "comparisons", "seeds"), [(0.19, 1, 5), (0.19, 15, 9), (0.56, 1, 32), (0.56, 15, 59)])
def test_jordans_figures_are_the_two_sample_test(sd: float, comparisons: int, seeds: int):
    assert seeds_needed(0.4, sd, comparisons=comparisons, paired=False) == seeds


@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("effect", [0.3, 1.2])
def test_power_is_statsmodels(n: int, effect: float):
    assert achieved_power(n, effect, 1.0) == pytest.approx(TTestPower().power(effect, n, 0.05), abs=1e-9)
    expected = TTestIndPower().power(effect, n, 0.05 / 3)
    assert achieved_power(n, -2 * effect, 2.0, comparisons=3, paired=False) == pytest.approx(expected, abs=1e-9)


def test_power_is_what_a_simulation_finds():
    rng = np.random.default_rng(3)
    d = rng.normal(1.0, 1.0, (20_000, 6))
    found = (stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05).mean()
    assert achieved_power(6, 1.0, 1.0) == pytest.approx(found, abs=4 * np.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("difference", [0.1, 0.7, 30.0])
def test_seeds_needed_is_the_smallest_number_that_suffices(paired: bool, difference: float):
    n = seeds_needed(difference, 1.0, paired=paired)
    assert achieved_power(n, difference, 1.0, paired=paired) >= 0.8
    assert achieved_power(n - 1, difference, 1.0, paired=paired) < 0.8


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("n", "comparisons"), [(2, 1), (4, 6), (5, 4), (50, 1)])
def test_smallest_difference_has_just_the_power(n: int, comparisons: int, paired: bool):
    difference = smallest_difference(n, 0.2, comparisons=comparisons, paired=paired)
    assert achieved_power(n, difference, 0.2, comparisons=comparisons, paired=paired) == pytest.approx(0.8)


def test_too_few_seeds_and_impossible_questions():
    assert achieved_power(1, 1.0, 1.0) == 0
    assert smallest_difference(1, 1.0) == float("inf")
    with pytest.raises(StudyError, match="`difference` is 0"):
        seeds_needed(0.0, 1.0)
    with pytest.raises(StudyError, match="over 1,000,000 seeds"):
        seeds_needed(1e-6, 1.0)
    with pytest.raises(StudyError, match="`sd` is 0"):
        smallest_difference(5, 0.0)
    with pytest.raises(StudyError, match="`alpha`"):
        achieved_power(5, 1.0, 1.0, alpha=0.0)


def test_sd_interval_covers_the_spread():
    d = np.random.default_rng(0).normal(0, 2, (4000, 5))
    covered = [low <= 2 <= high for low, high in (sd_interval(sd, 5) for sd in d.std(axis=1, ddof=1))]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_seed_table_tells_what_the_seeds_of_each_arm_can(results: StudyResults):
    table = seed_table(results).set_index("arm")
    cells = results.trials.pivot(index="arm", columns="seed", values="test_accuracy")
    sd = (cells.loc["norm=none"] - cells.loc["baseline"]).std()
    none = table.loc["norm=none"]
    assert none.sd == pytest.approx(sd)
    assert none.smallest_difference == pytest.approx(smallest_difference(5, sd, comparisons=3))
    assert none.seeds_needed == seeds_needed(0.005, sd, comparisons=3)
    assert none.sd_low < none.sd < none.sd_high
    assert none.seeds_needed_high > none.seeds_needed
    assert seed_table(results, metric="test_loss")["seeds_needed"].isna().all()
