"""The trials of a tuned ablation: equal points and seeds in all arms, points that stay, the final cell by results."""

import math
import re

import numpy as np
import pytest

from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from, study_from_store, study_to_store
from search_spaces.tune import MAX_FIELDS, Tune
from search_spaces.tuned_plan import chosen_trials, containing_arms, with_finals

RATES = {"optimizer.lr": {"loguniform": [1e-3, 1.0]}}
TREE = {
    "name": "tuned",
    "baseline": {"data": {"source": "digits"}, "model": {"depth": 8, "width": 4}, "epochs": 2},
    "factors": {"model.norm": ["batch", "group", "none"]},
}


def plan(**tune):
    return make_plan(study_from(TREE | {"tune": {"space": RATES, "trials": 4, "repeats": 3} | tune}))


def digests(made):
    return {(t.arm.name, t.repeat, t.trial): (t.cell.digest, t.final.digest) for t in made.tuning}


def test_every_arm_gets_the_same_points_and_seeds_and_the_first_trial_has_the_arms_own_values():
    made = plan()
    for repeat in range(3):
        for trial in range(4):
            same = [t for t in made.tuning if (t.repeat, t.trial) == (repeat, trial)]
            assert [t.arm.name for t in same] == ["norm=batch", "norm=group", "norm=none"]
            assert len({t.values["optimizer.lr"] for t in same}) == 1
            assert {t.cell.config.seed for t in same} == {repeat}
            assert {t.final.config.seed for t in same} == {1000 + repeat}
            assert all(t.cell.config.optimizer.lr == t.values["optimizer.lr"] for t in same)
    first = [t for t in made.tuning if t.trial == 0]
    assert {t.values["optimizer.lr"] for t in first} == {0.1}
    assert len({t.values["optimizer.lr"] for t in made.tuning if t.trial}) == 3 * 3


def test_the_plan_counts_the_trials_and_a_final_cell_for_each_arm_and_repeat():
    made = plan()
    assert (len(made.cells), made.later, made.size) == (3 * 3 * 4, 9, 45)
    assert set(made.arm_names().values()) == {"norm=batch", "norm=group", "norm=none"}


def test_points_are_those_of_a_scrambled_sobol_sequence_mapped_through_the_domains():
    # Exact values: another release of SciPy that draws others would train every cell again.
    points = Tune.model_validate({"space": RATES, "trials": 5, "repeats": 1}).points("any", 0)
    assert [point["optimizer.lr"] for point in points] == [0.0169765, 0.148078, 0.43374, 0.00373201]
    logs = np.array([math.log10(p["optimizer.lr"]) for p in Tune(space=RATES, trials=65, repeats=1).points("any", 3)])
    counts, _ = np.histogram(logs, bins=8, range=(-3, 0))
    assert counts.tolist() == [8] * 8  # a net: each eighth of the range gets as many points


def test_fields_of_several_kinds_are_drawn_independently_and_evenly():
    space = {"optimizer.lr": {"uniform": [0.1, 0.9]}, "batch_size": [8, 16], "model.width": {"int": [4, 16, 4]}}
    points = Tune.model_validate({"space": space, "trials": 129, "repeats": 1}).points("any", 0)
    pairs = [(point["batch_size"], point["model.width"]) for point in points]
    assert {pairs.count(pair) for pair in set(pairs)} == {16}
    assert len(set(pairs)) == 8
    assert all(0.1 <= point["optimizer.lr"] <= 0.9 for point in points)


def test_more_repeats_trials_and_extra_fields_leave_the_cells_that_there_are():
    small = digests(plan())
    larger = plan(trials=9, repeats=5, extra={"norm=group": {"model.norm_groups": [1, 2, 4]}})
    found = digests(larger)
    assert {at: found[at] for at in small if at[0] != "norm=group"} == {
        at: value for at, value in small.items() if at[0] != "norm=group"
    }
    lr = {(t.arm.name, t.repeat, t.trial): t.values["optimizer.lr"] for t in larger.tuning}
    assert all(lr["norm=group", r, t] == lr["norm=batch", r, t] for r in range(5) for t in range(9))
    assert digests(plan(seed=1)) != small


def test_a_study_survives_its_store_with_all_digests():
    spec = study_from(TREE | {"tune": {"space": RATES, "trials": 3, "repeats": 6}})
    assert spec.seeds == tuple(range(6))
    again = study_from_store(study_to_store(spec))
    assert make_plan(again) == make_plan(spec)


def test_a_study_without_tune_has_no_trials_and_its_digests_are_as_before():
    made = make_plan(study_from(TREE | {"seeds": 2}))
    assert (made.tuning, made.later, made.size) == ((), 0, 6)
    assert with_finals(made, {}, higher_is_better=True) == made


def ended(made, values):
    return {t.cell.digest: values[t.arm.name, t.repeat, t.trial] for t in made.tuning}


def test_the_best_trial_by_validation_is_trained_again_once_all_trials_have_ended():
    made = plan(repeats=1)
    values = {("norm=batch", 0, t): v for t, v in enumerate((0.5, 0.9, 0.9, None))}
    values |= {("norm=group", 0, t): v for t, v in enumerate((None, None, None, None))}
    values |= {("norm=none", 0, t): v for t, v in enumerate((None, 0.2, 0.1, 0.3))}
    done = ended(made, values)
    assert [(t.arm.name, t.trial) for t in chosen_trials(made, done, higher_is_better=True)] == [
        ("norm=batch", 1),  # the earliest of equals
        ("norm=group", 0),  # nothing completed: its own values, so that the loss is recorded
        ("norm=none", 3),
    ]
    assert [t.trial for t in chosen_trials(made, done, higher_is_better=False)] == [0, 0, 2]
    whole = with_finals(made, done, higher_is_better=True)
    assert (len(whole.cells), whole.later, whole.size) == (12 + 3, 0, made.size)
    final = whole.cells[-1]
    assert (final.arm.name, final.config.seed) == ("norm=none", 1000)
    assert final.arm.levels == {"model.norm": "none", "optimizer.lr": f"{final.config.optimizer.lr:.6g}"}
    del done[made.tuning[0].cell.digest]
    assert [t.arm.name for t in chosen_trials(made, done, higher_is_better=True)] == ["norm=group", "norm=none"]


def test_a_point_that_is_drawn_twice_is_trained_once():
    made = plan(space={"batch_size": [8, 16]}, trials=6, repeats=1)
    assert len(made.tuning) == 18
    assert {t.values["batch_size"] for t in made.tuning} == {8, 16, 128}
    assert len(made.cells) == 9
    assert made.cells[0].arm.name == "norm=batch, trial 0"


def test_an_arm_contains_another_where_a_value_of_its_own_field_makes_it_that_arm():
    tree = TREE | {
        "factors": {"recipe": {"heavy": {"optimizer.momentum": 0.95}}, "model.norm": ["batch", "none"]},
        "tune": {"space": RATES, "extra": {"recipe=heavy": {"optimizer.momentum": {"uniform": [0.5, 0.99]}}}},
    }
    spec = study_from(tree)
    arms = make_plan(spec).arms
    assert containing_arms(spec.tune, arms) == [("recipe=heavy", "baseline")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tune": {"space": RATES, "searcher": "tpe"}}, "`tune.searcher` is 'tpe', but must be random"),
        ({"tune": {"space": RATES, "asha": {}}}, "`tune.asha` is {}, but must be left out"),
        ({"tune": {"space": {}}}, "`tune.space` is {}, but must be a mapping"),
        ({"tune": {"space": {"optimizer.lx": [1]}}}, "`tune.space.optimizer.lx` is not a field"),
        ({"tune": {"space": {"seed": [1]}}}, "`tune.space.seed` cannot be varied"),
        ({"tune": {"space": {"optimizer.lr": {"uniform": [-1, 1]}}}}, "`optimizer.lr` is -1.0, but must be above 0"),
        (
            {"tune": {"space": RATES | {"model.norm": ["batch", "none"]}}},
            "differ only in fields that both of them tune",
        ),
        ({"tune": {"space": RATES, "extra": {"norm=grup": {"batch_size": [8]}}}}, "did you mean 'norm=group'"),
        ({"tune": {"space": RATES, "extra": {"norm=group": RATES}}}, "fields that `space` does not have"),
        ({"tune": {"space": RATES, "repeats": 4}, "seeds": 3}, "`tune.repeats` (4) takes its place"),
        ({"tune": {"space": RATES, "trials": 1}}, "`tune.trials` is 1, but must be at least 2"),
        ({"tune": {"space": RATES, "trials": 1024, "repeats": 1000}}, "at most 100,000"),
        ({"mode": "search", "factors": None, "space": RATES, "tune": {"space": RATES}}, "`tune` is"),
    ],
)
def test_mistakes_name_the_place_and_the_remedy(change, message):
    with pytest.raises(StudyError, match="(?s)" + re.escape(message)):
        study_from(TREE | change)


def test_no_more_fields_are_tuned_than_the_sequence_has_dimensions():
    paths = [f"args.a{number}" for number in range(MAX_FIELDS + 1)]
    with pytest.raises(ValueError, match=f"at most {MAX_FIELDS} fields"):
        Tune.model_validate({"space": {path: [1, 2] for path in paths}})
