from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.stats.forecast import forecast
from analysis.stats.paired import compare_differences
from analysis.stats.sequential import (
    ArmDecision,
    SequentialPlan,
    certain_to_continue,
    corrected_estimate,
    decide,
    default_looks,
    predictive_probability,
    trainings_used,
)
from analysis.stats.spending import t_levels
from search_spaces.errors import StudyError

MIX = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0)
PLAN = SequentialPlan((4, 6, 9, 13, 20), rope=0.5)


def noise(arms: int, seeds: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(arms, seeds)) - rng.normal(size=(1, seeds))) / np.sqrt(2)


@pytest.mark.parametrize("seed", range(4))
def test_one_look_is_the_study_with_a_fixed_number_of_seeds(seed: int):
    d = np.array(MIX)[:, None] + noise(6, 12, seed)
    states = [one.state for one in decide(d, SequentialPlan((12,), rope=1.2))]
    assert states == compare_differences(d, rope=1.2).verdict.tolist()


def test_an_arm_stops_where_its_p_is_below_the_level_of_the_look_and_stays_stopped():
    d = 3 + noise(1, 20)
    found = decide(d, PLAN)[0]
    levels = t_levels(PLAN.looks, 0.05, "quadratic")
    p = [stats.ttest_1samp(d[0, :look], 0).pvalue for look in PLAN.looks]
    first = next(place for place, look in enumerate(p) if look <= levels[place])
    assert (found.state, found.seeds) == ("better", PLAN.looks[first])
    assert found.estimate == pytest.approx(d[0, : found.seeds].mean())
    again = d.copy()
    again[:, found.seeds :] = -100.0
    assert decide(again, PLAN)[0] == found
    seeds, t, critical = found.path[-1]
    assert seeds == found.seeds
    assert t == pytest.approx(stats.ttest_1samp(d[0, :seeds], 0).statistic)
    assert critical == pytest.approx(stats.t.isf(levels[first] / 2, seeds - 1))
    assert abs(t) >= critical


def test_equal_differences_are_decided_by_the_exact_tests():
    equal = np.stack([np.full(20, 3.0), np.full(20, -3.0), np.zeros(20)])
    found = decide(equal, PLAN)
    assert [one.state for one in found] == ["better", "worse", "equivalent"]
    levels = t_levels(PLAN.looks, 0.05 / 3, "quadratic")
    first = next(look for look, level in zip(PLAN.looks, levels, strict=True) if 2 / 2**look <= level)
    assert found[0].seeds == first
    undecided = decide(equal[:, :4], SequentialPlan((4,), rope=0.5))
    assert [one.state for one in undecided] == ["undecided", "undecided", "undecided"]


def test_before_the_first_look_and_between_looks_every_arm_goes_on():
    d = 9 + noise(2, 20)
    assert [one.state for one in decide(d[:, :3], PLAN)] == ["continue", "continue"]
    undecided = noise(1, 20, 3)
    assert decide(undecided[:, :5], PLAN)[0] == decide(undecided[:, :4], PLAN)[0]


def test_holm_gives_the_alpha_of_rejected_arms_to_the_others():
    d = np.stack([50 + noise(1, 6, 1)[0], np.array([1.0, 0.2, 1.3, 0.4, 1.1, 0.5])])
    p = stats.ttest_1samp(d[1], 0).pvalue
    assert 0.005 < p < 0.05
    plan = SequentialPlan((6,), alpha=1.5 * p)  # enough for one arm of one, too little for one of two
    assert [one.state for one in decide(d, plan)] == ["better", "better"]
    d[0] = noise(1, 6, 1)[0]
    assert decide(d, plan)[1].state == "undecided"


def test_direction_follows_the_metric_and_lost_runs_are_left_out():
    d = 4 + noise(1, 9)
    d[0, 2] = np.nan
    assert decide(d, PLAN)[0].state == "better"
    loss = decide(d, PLAN, higher_is_better=False)[0]
    assert loss.state == "worse"
    assert loss.estimate > 0
    nothing = decide(np.full((1, 20), np.nan), PLAN)[0]
    assert nothing.state == "undecided"


def test_futile_arms_stop_and_without_futility_none_does():
    d = noise(6, 20, 5)
    assert "futile" in {one.state for one in decide(d, PLAN)}
    never = SequentialPlan(PLAN.looks, futility=0, rope=0.5)
    assert {one.state for one in decide(d, never)} <= {"undecided", "equivalent", "better", "worse"}


def test_predictive_probability_is_the_share_of_simulated_continuations():
    plan = SequentialPlan((6, 20), rope=0.5)
    first = np.array([0.9, -0.1, 0.4, 0.2, 0.8, 0.1])
    mean, sd = first.mean(), first.std(ddof=1)
    rng = np.random.default_rng(0)
    draws = 40_000
    # Flat prior: variance from its posterior, then the true mean, then 14 further seeds.
    variance = 5 * sd**2 / rng.chisquare(5, draws)
    true = mean + np.sqrt(variance / 6) * rng.normal(size=draws)
    final = (6 * mean + 14 * (true + np.sqrt(variance / 14) * rng.normal(size=draws))) / 20
    levels = t_levels(plan.looks, 0.05, "quadratic")
    critical = stats.t.isf(levels[-1] / 2, 19) * sd / np.sqrt(20)
    equivalent = t_levels(plan.looks, 0.1, "quadratic")[-1]
    inside = min(0.5 - stats.t.isf(equivalent / 2, 19) * sd / np.sqrt(20), critical)
    expected = np.mean((np.abs(final) > critical) | (np.abs(final) < inside))
    assert predictive_probability(mean, sd / np.sqrt(6), 6, plan) == pytest.approx(expected, abs=0.01)
    assert predictive_probability(mean, float("nan"), 6, plan) == 1


def test_without_any_difference_a_false_one_is_found_in_at_most_five_percent_of_studies():
    studies, looks = 300, (4, 6, 8, 12)
    plan = SequentialPlan(looks, futility=0)
    drawn = [noise(2, 12, seed) for seed in range(studies)]
    found = [any(one.state in ("better", "worse") for one in decide(d, plan)) for d in drawn]
    limit = 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / studies)
    assert np.mean(found) <= limit
    # The mutant that tests each look at the full level, Bonferroni over the arms, fails in the same simulation.
    stacked = np.stack(drawn)
    p = [stats.ttest_1samp(stacked[:, :, :look], 0, axis=2).pvalue.min(axis=1) for look in looks]
    assert np.mean(np.min(p, axis=0) < 0.05 / 2) > limit


def test_on_a_mix_of_effects_the_default_saves_over_four_tenths_of_the_trainings():
    found = forecast(MIX, SequentialPlan(default_looks(20), rope=0.5), studies=60, seed=1)
    assert found.fixed == 140
    assert found.trainings / found.fixed <= 0.55 + 3 * found.error / found.fixed
    fixed = [
        (compare_differences(np.array(MIX)[:, None] + noise(6, 20, seed)).verdict == "better") for seed in range(200)
    ]
    power = np.mean(found.decided[2:])
    assert power >= np.mean(fixed, axis=0)[2:].mean() - 0.08
    assert found.decided[0] < 0.1


def test_the_reference_is_trained_as_long_as_any_arm_needs_it():
    decisions = [ArmDecision("better", 4, 1.0, ()), ArmDecision("undecided", 20, 0.0, ())]
    assert trainings_used(decisions) == 44
    assert trainings_used([]) == 0


def test_corrected_estimate_is_nearer_to_zero_after_an_early_stop_and_absent_otherwise():
    d = 1.5 + noise(1, 20, 2)
    found = decide(d, PLAN)[0]
    assert 4 < found.seeds < 20
    corrected = corrected_estimate(d[0], found, PLAN, arms=1)
    assert 0 < corrected < found.estimate
    assert corrected_estimate(-d[0], decide(-d, PLAN)[0], PLAN, arms=1) == pytest.approx(-corrected)
    undecided = decide(noise(1, 20, 3), PLAN)[0]
    assert np.isnan(corrected_estimate(noise(1, 20, 3)[0], undecided, PLAN, arms=1))


def test_default_looks_begin_at_the_fourth_seed_and_end_at_the_last():
    assert default_looks(20) == (4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20)
    assert default_looks(3) == (3,)
    assert default_looks(5) == (5,)
    for most in range(6, 40):
        looks = default_looks(most)
        assert looks[-1] == most
        assert min(np.diff(looks), default=1) >= 1


@pytest.mark.parametrize("seed", range(6))
def test_an_arm_is_certain_to_go_on_only_if_it_does_whatever_the_others_give(seed: int):
    rng = np.random.default_rng(seed)
    plan = SequentialPlan((4, 6, 9), futility=0.0, rope=0.5)
    d = rng.normal(size=(5, 6)) + rng.choice([0.0, 1.0, 3.0], size=(5, 1))
    before, complete = decide(d[:, :4], plan), [True, True, True, False, False]
    found = certain_to_continue(d, plan, before, 1, complete)
    goes_on = []
    for draw in range(300):
        other = d.copy()
        level = 10.0 ** rng.uniform(-2, 1)
        other[3:, 4:] = level * rng.normal(size=(2, 2)) + rng.choice([0.0, 4.0, -4.0])
        other[3:, :4] = d[3:, :4]
        if draw % 2:  # an arm whose differences are all small or all large is decided
            other[3:, 4:] = d[3:, :4].mean(axis=1, keepdims=True)
        goes_on.append([one.state == "continue" for one in decide(other[:, :6], plan)])
    always = np.all(goes_on, axis=0)
    assert not any(found[arm] and not always[arm] for arm in range(5))
    assert found[3:] == [False, False]


def test_an_arm_that_another_arms_decision_would_decide_is_not_certain_to_go_on():
    """By Holm: with the other arm decided, the boundary is that of alpha, not of alpha / 2."""
    plan = SequentialPlan((4, 6, 9), futility=0.0)
    alone, together = (stats.t.isf(t_levels(plan.looks, 0.05 / m, "quadratic")[1] / 2, 5) for m in (1, 2))
    base = np.array([-1.2, 1.0, 0.4, -0.6, 0.9, -0.5])
    base = (base - base.mean()) / base.std(ddof=1)
    d = np.stack([base + (alone + together) / 2 / np.sqrt(6), base])
    before = decide(d[:, :4], plan)
    assert [one.state for one in before] == ["continue", "continue"]
    assert certain_to_continue(d, plan, before, 1, [True, False]) == [False, False]
    assert certain_to_continue(d, plan, before, 1, [True, True]) == [True, True]


def test_wrong_plans_are_refused():
    for looks in ((), (1, 4), (5, 5)):
        with pytest.raises(StudyError, match="increasing"):
            SequentialPlan(looks)
    with pytest.raises(StudyError, match="futility"):
        SequentialPlan((4, 8), futility=1.0)
