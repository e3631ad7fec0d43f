"""The effect of each arm while a study runs."""

import pytest

from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.tuning.rounds import known_plan
from tune_app.tuning.running_effects import RunningEffects


@pytest.fixture
def plan(tiny_tree):
    tiny_tree |= {"factors": {"model.norm": ["batch", "none", "layer"]}, "seeds": 3}
    return make_plan(StudySpec.model_validate(tiny_tree))


def accuracies(plan, values):
    """Return results by digest from {(arm, seed): accuracy}."""
    names = {(cell.arm.name, cell.config.seed): cell.digest for cell in plan.cells}
    return {names[key]: {"test_accuracy": value} for key, value in values.items()}


@pytest.fixture
def arms(plan):
    """Return the names of the reference and of the two other arms."""
    others = [arm.name for arm in plan.arms if arm.name != plan.reference_arm]
    return plan.reference_arm, *others


def effects_of(plan, spec, values):
    return RunningEffects(plan, spec.metric_record(spec.metric), accuracies(plan, values))


def test_differences_are_means_over_the_seeds_that_both_arms_have(plan, spec, arms):
    reference, first, _ = arms
    values = {(reference, 0): 0.5, (reference, 1): 0.6, (first, 0): 0.7, (first, 1): 0.5, (first, 2): 0.1}
    found = effects_of(plan, spec, values)
    (arm,) = found.arms()
    assert (arm.arm, arm.seeds, arm.planned) == (first, 2, 3)
    assert arm.difference == pytest.approx((0.2 - 0.1) / 2)
    assert found.show(arm) == "+5.00 points"


def test_the_order_in_which_results_come_does_not_matter(plan, spec, arms):
    values = {(arm, seed): 0.1 * seed + 0.03 * place for place, arm in enumerate(arms) for seed in range(3)}
    forward, backward = effects_of(plan, spec, values), effects_of(plan, spec, dict(reversed(values.items())))
    assert [arm.difference for arm in forward.arms()] == pytest.approx([0.03, 0.06])
    assert [arm.difference for arm in backward.arms()] == pytest.approx([0.03, 0.06])


def test_results_without_a_figure_or_of_another_study_change_nothing(plan, spec, arms):
    reference, first, _ = arms
    found = effects_of(plan, spec, {(reference, 0): 0.5, (first, 0): float("nan"), (first, 1): None})
    found.add("0" * 16, {"test_accuracy": 0.9})
    assert found.arms() == []


def test_of_a_tuned_study_the_final_cells_of_earlier_choices_do_not_count(tiny_tree):
    tree = {key: value for key, value in tiny_tree.items() if key != "seeds"}
    tree |= {"factors": {"model.norm": ["batch", "none"]}}
    tree |= {"tune": {"space": {"optimizer.lr": {"loguniform": [1e-3, 1.0]}}, "trials": 3, "repeats": 1}}
    spec = StudySpec.model_validate(tree)
    plan = make_plan(spec)
    reached = {trial.cell.digest: {"val_accuracy": 0.1 * trial.trial} for trial in plan.tuning}
    ends = {(trial.arm.name, trial.trial): trial.final.digest for trial in plan.tuning}
    reference, other = plan.reference_arm, next(arm.name for arm in plan.arms if arm.name != plan.reference_arm)
    finals = {(reference, 2): 0.6, (other, 1): 0.5, (other, 2): 0.9}  # with two trials, trial 1 was the best
    stored = reached | {ends[key]: {"test_accuracy": value} for key, value in finals.items()}
    (arm,) = RunningEffects(known_plan(spec, plan, stored), spec.metric_record(spec.metric), stored).arms()
    assert arm.difference == pytest.approx(0.3)


def test_a_result_that_comes_twice_counts_once(plan, spec, arms):
    reference, first, _ = arms
    values = {(reference, 0): 0.5, (first, 0): 0.6}
    found = effects_of(plan, spec, values)
    for digest, metrics in accuracies(plan, values).items():
        found.add(digest, metrics)
    assert [arm.seeds for arm in found.arms()] == [1]
