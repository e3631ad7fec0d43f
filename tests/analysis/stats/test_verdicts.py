"""Where a verdict of the t tests is withheld, by cases and by simulation (the long form: `make verdicts`)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.stats.claims import claim_outcome
from analysis.stats.paired import compare_differences
from analysis.stats.verdicts import judge
from bench.verdict_simulations import (
    collapsing,
    equivalence_claims,
    least_collapse_error,
    lognormal,
    lost_runs,
    power,
    rates,
)

pytestmark = pytest.mark.slow

BASE = np.array([0.0, 0.3, -0.2, 0.1, -0.1, 0.2, -0.3, 0.05])
NOISE = np.array([0.02, -0.05, 0.04, 0.03, -0.02, 0.05, -0.04, 0.01])


def judged(*arms: np.ndarray, **options):
    return judge(np.stack([BASE, *arms]), [(place + 1, 0) for place in range(len(arms))], **options)


def test_normal_results_keep_the_verdicts_of_the_t_tests():
    found = judged(BASE + NOISE + 1, BASE - NOISE - 1, BASE + NOISE, rope=0.1)
    assert found.effects.verdict.tolist() == ["better", "worse", "equivalent"]
    assert found.withheld == ["", "", ""]
    assert found.collapsed_p.tolist() == [1, 1, 1]


def test_a_difference_that_comparable_collapses_can_explain_is_withheld():
    steady, collapsing_arm = BASE + NOISE + 1, BASE - NOISE + 1
    collapsing_arm[2] -= 20
    found = judged(steady, collapsing_arm, collapsing_arm[::-1])
    assert found.study_collapsed == (2, 32)
    assert found.withheld == ["collapse", "", ""]
    assert found.effects.verdict.tolist() == ["undecided", "undecided", "undecided"]
    assert found.collapsed.tolist() == [0, 1, 1]
    far = judged(steady + 30, collapsing_arm)
    assert far.effects.verdict[0] == "better"  # a difference too large to be explained by them stays


def test_collapses_of_an_arm_at_another_level_withhold_no_verdict_between_two_other_arms():
    rng = np.random.default_rng(7)
    reference, clearly_worse, weak = 0.015 * rng.normal(size=(3, 10)) + [[0.94], [0.91], [0.87]]
    weak[[2, 6]] -= 0.13
    found = judge(np.stack([reference, clearly_worse, weak]), [(1, 0), (2, 0)])
    assert found.collapsed.tolist() == [0, 2]
    assert found.effects.verdict.tolist() == ["worse", "worse"]


def test_without_a_collapse_in_the_table_the_verdict_is_that_of_the_t_tests():
    """No test can do otherwise: such a table is one of normal noise and a true difference (docs/verdicts.md)."""
    assert least_collapse_error(n=5, arms=1, studies=2000, power_lost=0) == pytest.approx(
        0.85**5 * _t_power(1.2, 5), abs=0.02
    )
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 5)) + np.array([[0], [6]])
    assert judge(values, [(1, 0)]).effects.verdict.tolist() == ["better"]


def _t_power(effect: float, n: int) -> float:
    shift, critical = effect * np.sqrt(n / 2), stats.t.isf(0.025, n - 1)
    return float(stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift))


def test_a_difference_that_the_skewness_of_all_arms_explains_is_withheld():
    before, after = (sum(part) for part in zip(*(_lognormal(seed) for seed in range(4)), strict=True))
    assert before > 0.09 * 4
    assert after < 0.075 * 4


def _lognormal(seed: int) -> tuple[float, float]:
    found = rates(lognormal, n=10, arms=6, studies=100, seed=seed)
    return found.before.rate, found.after.rate


def test_an_arm_that_always_does_far_worse_is_worse_and_its_collapses_are_counted():
    broken = BASE + NOISE - 20
    broken[0] += 20
    found = judged(broken)
    assert found.effects.verdict[0] == "worse"
    assert (found.collapsed[0], found.runs[0], found.reference_collapsed[0]) == (7, 8, 0)
    assert found.collapsed_p[0] == pytest.approx(stats.fisher_exact([[7, 1], [0, 8]]).pvalue)


def test_verdict_of_uneven_results_needs_a_test_without_normal_noise():
    d = np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.05, 0.95, 4.5])
    assert judged(BASE + d).withheld == [""]  # an outlier, but every seed agrees
    mixed = np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.05, -0.1, -0.1])
    assert judged(BASE + mixed).effects.verdict[0] == "better"
    assert "outlier" in judged(BASE + d).warnings[0]


def test_with_three_pairs_an_arm_that_does_not_train_is_worse_though_its_runs_hardly_vary():
    """No test of three pairs confirms without normal noise; Welch's allows for unequal spread."""
    trained, failed = np.array([0.900, 0.912, 0.891]), np.array([0.1, 0.1002, 0.1001])
    found = judge(np.stack([trained, failed]), [(1, 0)], resolution=1e-4)
    assert found.warnings[0].startswith("its runs vary 105.4 times as little")
    assert (found.withheld, found.effects.verdict.tolist()) == ([""], ["worse"])
    small = judge(np.stack([trained, trained.mean() - 0.015 + 0.01 * failed]), [(1, 0)])
    assert small.effects.verdict.tolist() == ["undecided"]


@pytest.mark.slow
def test_with_three_pairs_unequal_spread_does_not_raise_the_error():
    rng = np.random.default_rng(0)
    tables = rng.normal(size=(3000, 2, 3)) * [[[1.0], [0.01]]]
    called = [judge(table, [(1, 0)]).effects.verdict[0] != "undecided" for table in tables]
    assert np.mean(called) < 0.06


def test_a_verdict_in_favour_of_an_arm_that_lost_runs_must_survive_their_worst_value():
    values = np.stack([BASE, BASE + 0.3 + NOISE])
    lost = np.zeros(values.shape, bool)
    lost[1, [2, 6]] = True
    values[lost] = np.nan
    found = judge(values, [(1, 0)], lost=lost, fill=-5.0)
    assert (found.withheld, found.effects.verdict[0]) == (["lost"], "undecided")
    assert (found.lost[0], found.reference_lost[0], found.runs[0]) == (2, 0, 6)
    assert judge(values, [(1, 0)], lost=lost, fill=0.2).effects.verdict[0] == "better"
    reference = judge(values, [(0, 1)], lost=lost, fill=-5.0)
    assert reference.withheld == ["lost"]
    # The arm that does worse lost the runs: what is missing can only have been worse still.
    assert judge(-values, [(1, 0)], lost=lost, fill=-5.0).effects.verdict[0] == "worse"


def test_runs_without_losses_and_without_figures_are_judged_without_error():
    values = np.full((2, 3), np.nan)
    found = judge(values, [(1, 0)], lost=np.ones((2, 3), bool))
    assert found.effects.verdict[0] == "undecided"
    assert found.lost_p[0] == 1
    assert judge(values, []).effects.verdict.tolist() == []


@pytest.mark.parametrize(
    ("expected", "gain", "differs", "equivalent", "beyond", "outcome"),
    [
        ("equivalent", 0.4, True, False, False, "undecided at this scale"),
        ("equivalent", 0.4, True, True, False, "held"),
        ("equivalent", 0.9, True, False, True, "did not hold"),
        ("better", 0.4, True, False, False, "held"),
        ("better", 0.1, True, True, False, "too small to matter"),
        ("better", 0.1, False, True, False, "did not hold"),
        ("better", -0.1, True, True, False, "did not hold"),
        ("better", -0.4, True, False, False, "did not hold"),
        ("better", 0.4, False, False, False, "undecided at this scale"),
        ("worse", -0.4, True, False, True, "held"),
        ("worse", 0.4, True, False, False, "did not hold"),
    ],
)
def test_outcome_of_a_claim_follows_from_what_was_shown(expected, gain, differs, equivalent, beyond, outcome):
    options = {"gain": gain, "differs": differs, "equivalent": equivalent, "beyond": beyond}
    assert claim_outcome(expected, **options) == outcome
    assert claim_outcome(expected, **options, withheld=True) == "undecided at this scale"


def test_true_equivalence_claims_are_hardly_ever_contradicted():
    """True difference 0.8 rope, n = 8, sd 1.2 points: was contradicted in 74 % of studies."""
    found = equivalence_claims(studies=800, seed=1)
    assert found.before.rate > 0.7
    assert found.after.rate <= 0.05


@pytest.mark.parametrize("n", [5, 10])
def test_collapsing_arms_of_equal_mean_are_not_called_different(n: int):
    found = rates(collapsing, n=n, arms=6, studies=150, seed=n)
    assert found.before.rate > 0.1
    assert found.after.rate <= 0.06 + 2 * found.after.error


def test_beyond_p_is_the_two_sided_t_test_at_the_edge_of_an_empty_rope_and_holds_its_level():
    d = np.random.default_rng(2).normal(0.5, 1, (1, 7))
    assert compare_differences(d, rope=1e-12).beyond_p[0] == pytest.approx(stats.ttest_1samp(d[0], 0).pvalue)
    edge = np.random.default_rng(3).normal(0.7, 1, (1000, 8))
    single = np.array([compare_differences(row[None], rope=0.7).beyond_p[0] for row in edge[:1000]])
    assert np.mean(single < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)
    assert np.mean(single < 0.05) > 0.03


@pytest.mark.parametrize("side", ["arm", "reference"])
def test_losing_the_worst_runs_makes_no_arm_better_and_no_equal_arm_worse(side: str):
    found = lost_runs(side, studies=300, seed=1)
    assert found.before.rate > 0.12
    assert found.after.rate <= 0.06


@pytest.mark.parametrize(("n", "effect"), [(3, 6.0), (5, 3.0), (10, 1.5)])
def test_under_normal_noise_at_most_five_points_of_power_are_lost(n: int, effect: float):
    found = power(effect, n=n, arms=2, studies=150, seed=2)
    assert found.before.rate > 0.6
    assert found.after.rate >= found.before.rate - 0.05
