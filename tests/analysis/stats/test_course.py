"""How far a sequential study is, from the results so far."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats.course import ahead, course, sequential_plan, study_course
from analysis.stats.sequential import SequentialPlan, decide, default_looks, trainings_used
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from

PLAN = SequentialPlan((4, 6, 9, 13, 20), rope=0.5)
EFFECTS = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0)


def drawn(seed: int, effects=EFFECTS, seeds: int = 20) -> np.ndarray:
    """Return values of the reference arm and of arms with these differences, in sd of the paired differences."""
    values = np.random.default_rng(seed).normal(size=(len(effects) + 1, seeds)) / np.sqrt(2)
    values[1:] += np.array(effects)[:, None]
    return values


def followed(values: np.ndarray, plan: SequentialPlan):
    """Return the end of a study that trains what is wanted and nothing else, and the number of its trainings."""
    ended = np.zeros(values.shape, bool)
    while True:
        seen = np.where(ended, values, np.nan)
        reached, decisions, wanted = course(seen, ended, plan)
        needed = (np.arange(values.shape[1]) < np.array(wanted)[:, None]) & ~ended
        if not needed.any():
            return reached, decisions, int(ended.sum())
        ended |= needed


@pytest.mark.parametrize("seed", range(12))
def test_following_what_is_wanted_gives_the_decisions_of_the_whole_table_with_the_trainings_of_the_rule(seed):
    values = drawn(seed)
    for plan in (PLAN, SequentialPlan(default_looks(20), rope=0.5)):
        _, decisions, trainings = followed(values, plan)
        whole = decide(values[1:] - values[0], plan)
        assert [(one.state, one.seeds, one.path) for one in decisions] == [
            (one.state, one.seeds, one.path) for one in whole
        ]
        assert trainings == trainings_used(whole)
        assert all(one.state != "continue" for one in decisions)


def test_first_all_arms_are_wanted_for_the_first_look_and_a_look_needs_every_trial():
    values = drawn(0)
    values[6] += 50
    ended = np.zeros(values.shape, bool)
    nothing = np.full(values.shape, np.nan)
    assert course(nothing, ended, PLAN)[0::2] == (0, [4] * 7)
    ended[:, :4] = True
    ended[3, 2] = False
    reached, decisions, wanted = course(np.where(ended, values, np.nan), ended, PLAN)
    assert (reached, wanted) == (0, [4] * 7)
    assert {one.state for one in decisions} == {"continue"}
    ended[3, 2] = True
    reached, decisions, wanted = course(np.where(ended, values, np.nan), ended, PLAN)
    assert reached == 1
    assert decisions[5].state == "better"
    assert wanted == [6, *(4 if one.state != "continue" else 6 for one in decisions)]


def test_a_trial_without_a_result_counts_as_ended():
    values = drawn(1)
    values[2, 1] = np.nan
    reached, _, trainings = followed(values, PLAN)
    assert trainings == trainings_used(decide(values[1:] - values[0], PLAN))
    assert reached >= 1


@pytest.mark.parametrize("seed", range(20))
def test_arms_that_are_certain_to_go_on_do_so_whatever_the_others_give(seed):
    """Each look is made with the trials of half of the arms outstanding, which then end as they do."""
    values, rng = drawn(seed), np.random.default_rng(seed)
    ended, certain = np.zeros(values.shape, bool), 0
    while True:
        made = course(np.where(ended, values, np.nan), ended, PLAN)
        reached, decisions, wanted = made
        if reached == len(PLAN.looks) or not any(one.state == "continue" for one in decisions):
            break
        needed = np.arange(20) < np.array(wanted)[:, None]
        late = np.r_[False, rng.random(6) < 0.5]
        ended |= needed & ~late[:, None]
        now = np.where(ended, values, np.nan)
        under_way = course(now, ended, PLAN)
        further = ahead(now, ended, PLAN, under_way) if under_way[0] == reached else under_way[2]
        ended |= needed
        after = course(np.where(ended, values, np.nan), ended, PLAN)
        if under_way[0] == reached and reached + 1 < len(PLAN.looks):
            going_on = np.array([more > least for more, least in zip(further, wanted, strict=True)])
            certain += going_on.sum()
            assert all(after[2][row] == PLAN.looks[reached + 1] for row in np.flatnonzero(going_on))
            assert not (going_on[1:] & late[1:]).any()
    assert certain or seed not in (0, 1, 2)


def test_nothing_is_certain_while_the_reference_arm_is_running():
    values = drawn(0)
    ended = np.zeros(values.shape, bool)
    ended[1:, :4] = True
    made = course(np.where(ended, values, np.nan), ended, PLAN)
    assert ahead(np.where(ended, values, np.nan), ended, PLAN, made) == made[2]


def test_results_beyond_the_stop_of_an_arm_change_nothing():
    values = drawn(2)
    _, decisions, _ = followed(values, PLAN)
    everything = course(values, np.ones(values.shape, bool), PLAN)
    assert everything[1] == decisions
    assert everything[2][0] == max(one.seeds for one in decisions)


TREE = {"name": "x", "factors": {"model.norm": ["batch", "group", "none"]}, "seeds": [7, 3, 5, 9, 1, 2], "rope": 0.0}


def test_the_plan_of_a_study_ends_with_all_seeds():
    assert sequential_plan(study_from(TREE | {"sequential": True})) == SequentialPlan((4, 6))
    spec = study_from(TREE | {"rope": 0.01, "sequential": {"looks": [2, 3], "futility": False, "spending": "pocock"}})
    assert sequential_plan(spec) == SequentialPlan((2, 3, 6), "pocock", 0.0, rope=0.01)
    assert sequential_plan(study_from(TREE | {"sequential": {"looks": [3, 6], "futility": True}})).looks == (3, 6)


def test_a_study_is_looked_at_in_the_order_of_its_seeds_and_by_the_direction_of_its_metric():
    spec = study_from(TREE | {"sequential": {"looks": [3]}, "metric": "test_loss"})
    plan = make_plan(spec)
    loss = {"norm=batch": 1.0, "norm=group": 0.2, "norm=none": 3.0}
    first = {
        cell.digest: {
            "test_loss": loss[cell.arm.name] + 0.001 * (cell.config.seed % 3) * (cell.arm.name != "norm=none")
        }
        for cell in plan.cells
        if cell.config.seed in (7, 3, 5)
    }
    found = study_course(spec, plan, first)
    assert found.reached == 1
    assert found.decisions["norm=none"].state == "worse"
    assert found.wanted["norm=none"] == 3
    assert not study_course(spec, plan, dict(list(first.items())[1:])).reached
