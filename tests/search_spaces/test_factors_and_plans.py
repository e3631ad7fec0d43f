from __future__ import annotations

from collections import Counter

import pytest

from search_spaces.catalog import CATALOG
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from

NORMS = {"model.norm": ["group", "batch", "layer"]}
PAIR = {"model.norm": ["batch", "group"], "batch_size": [32, 128]}


def plan(**parts):
    return make_plan(study_from({"name": "x", **parts}))


def names(**parts) -> list[str]:
    return [arm.name for arm in plan(**parts).arms]


def test_the_baseline_s_own_level_comes_first_even_where_the_list_has_it_later():
    factor = study_from({"name": "x", "factors": NORMS}).read_factors()[0]
    assert [level.label for level in factor.levels] == ["batch", "group", "layer"]


def test_the_baseline_s_own_level_is_added_where_the_list_lacks_it():
    assert names(factors={"model.norm": ["group"]}) == ["norm=batch", "norm=group"]


def test_arms_of_one_factor_are_named_by_it():
    one = plan(factors=NORMS)
    assert [arm.name for arm in one.arms] == ["norm=batch", "norm=group", "norm=layer"]
    assert one.reference_arm == "norm=batch"
    assert [arm.is_baseline for arm in one.arms] == [True, False, False]
    assert [arm.levels for arm in one.arms] == [{"model.norm": name} for name in ("batch", "group", "layer")]


def test_arms_of_several_factors_are_named_by_what_differs_from_the_baseline():
    both = plan(factors=PAIR, design="full_factorial")
    assert [arm.name for arm in both.arms] == ["baseline", "batch_size=32", "norm=group", "norm=group, batch_size=32"]
    assert both.arms[3].config.model.norm == "group"
    assert both.arms[3].config.batch_size == 32
    assert both.reference_arm == "baseline"
    assert both.aliases == ()


def test_factors_are_named_by_their_telling_word_or_where_that_is_not_clear_by_their_path():
    assert names(factors={"schedule.kind": ["step"], "augmentation.policy": ["crop_flip"]}) == [
        "baseline",
        "schedule=step",
        "augmentation=crop_flip",
    ]
    clash = {"weight_decay_grouping.norm_decay": [1e-3], "norm_decay": {"on": {"batch_size": 8}}}
    three = {"weight_decay_grouping": {"policy": "three_groups"}}
    assert names(factors=clash, baseline=three) == [
        "baseline",
        "weight_decay_grouping.norm_decay=0.001",
        "norm_decay=on",
    ]


def test_leave_one_out_compares_with_everything_on():
    out = plan(factors=PAIR, design="leave_one_out")
    assert [arm.name for arm in out.arms] == [
        "norm=group, batch_size=32",
        "batch_size=32",
        "norm=group",
        "baseline",
    ]
    assert out.reference_arm == "norm=group, batch_size=32"


def test_bundles_set_several_fields_at_once():
    recipe = {"recipe": {"big": {"model.depth": 20, "batch_size": 64}, "small": {"model.depth": 8}}}
    bundled = plan(factors=recipe)
    assert [arm.name for arm in bundled.arms] == ["recipe=baseline", "recipe=big", "recipe=small"]
    assert (bundled.arms[1].config.model.depth, bundled.arms[1].config.batch_size) == (20, 64)
    assert (bundled.arms[2].config.model.depth, bundled.arms[2].config.batch_size) == (8, 128)


def test_a_bundle_s_level_equal_to_the_baseline_is_the_baseline():
    recipe = {"recipe": {"deep": {"model.depth": 20}, "ours": {"model.depth": 14}}}
    assert names(factors=recipe) == ["recipe=ours", "recipe=deep"]


def test_catalog_names_become_levels_that_the_study_keeps():
    spec = study_from({"name": "x", "factors": ["normalization", "batch_size"]})
    assert spec.factors == {
        "model.norm": list(CATALOG["normalization"]["model.norm"].grid()),
        "batch_size": [8, 32, 128, 512],
    }


def test_fraction_tells_what_it_cannot_tell_apart_by_the_factors_names():
    factors = {
        "model.norm": ["group"],
        "model.depth": [8],
        "optimizer.lr": [0.2],
        "schedule.kind": ["step"],
    }
    half = plan(factors=factors, design={"kind": "fractional_factorial", "generator": "a b c abc"})
    assert len(half.arms) == 8
    assert half.reference_arm == "baseline"
    assert half.aliases[0] == "norm = depth:lr:schedule"
    assert "norm:depth = lr:schedule" in half.aliases


@pytest.mark.parametrize("design", ["one_factor_at_a_time", "leave_one_out", "full_factorial", "fractional_factorial"])
def test_every_design_gives_each_arm_the_same_seeds_and_no_cell_twice(design):
    made = plan(factors=PAIR | {"optimizer.lr": [0.2]}, design=design, seeds=[3, 1, 4])
    assert {arm.name for arm in made.arms} == {cell.arm.name for cell in made.cells}
    assert set(Counter(cell.arm.name for cell in made.cells).values()) == {3}
    for arm in made.arms:
        assert [cell.config.seed for cell in made.cells if cell.arm == arm] == [3, 1, 4]
    assert len({cell.digest for cell in made.cells}) == len(made.cells)
    assert all(cell.digest == cell.config.digest() for cell in made.cells)
    assert sum(arm.is_baseline for arm in made.arms) == 1
    assert made.reference_arm in {arm.name for arm in made.arms}


def test_more_seeds_and_more_levels_keep_the_cells_there_are():
    few = {cell.digest for cell in plan(factors={"model.norm": ["group"]}, seeds=2).cells}
    more = {cell.digest for cell in plan(factors=NORMS, seeds=3).cells}
    assert few < more


def test_arms_that_are_one_and_the_same_are_refused():
    factors = {"model.norm": ["none", "group"], "model.norm_groups": [2, 4]}
    with pytest.raises(StudyError, match="would train the very same thing"):
        plan(factors=factors, design="full_factorial")


@pytest.mark.parametrize(
    ("baseline", "factors"),
    [
        ({}, {"model.width": [16, 32]}),
        ({"model": {"family": "cnn"}}, {"model.width": [32]}),
        ({"model": {"family": "resnet18"}}, {"model.blocks": [[2, 2, 2, 2], [1, 1, 1, 1]]}),
        ({"schedule": {"kind": "step"}, "epochs": 10}, {"schedule.step_size": [4]}),
        ({"schedule": {"kind": "multistep"}, "epochs": 10}, {"schedule.milestones": [[5, 8]]}),
    ],
)
def test_null_and_the_number_that_it_stands_for_are_one_arm(baseline, factors):
    with pytest.raises(StudyError, match=r"would train the very same thing: .* or null stands for the other's number"):
        plan(baseline=baseline, factors=factors)
    stored = plan(baseline=baseline, factors=factors, training_version=2)  # by an earlier release
    assert len(stored.arms) > 1


def test_null_and_the_number_of_another_family_are_two_arms():
    assert names(baseline={"model": {"family": "cnn"}}, factors={"model.width": [16]}) == ["width=null", "width=16"]


def test_levels_that_cannot_be_combined_are_refused_with_the_arm():
    factors = {"optimizer.name": ["nesterov"], "optimizer.momentum": [0.0]}
    with pytest.raises(StudyError, match=r"from `factors, arm 'optimizer=nesterov, momentum=0.0'`"):
        plan(factors=factors, design="full_factorial")


def test_study_as_written_by_the_store_reads_back_the_same():
    tree = {
        "name": "x",
        "factors": ["normalization"],
        "design": "full_factorial",
        "seeds": 2,
        "sizes": {"s": {"epochs": 1}},
    }
    spec = study_from(tree)
    assert study_from(spec.model_dump(mode="json")) == spec
    search = study_from({"name": "x", "mode": "search", "space": ["learning_rate", "depth"], "seeds": 1})
    assert study_from(search.model_dump(mode="json")) == search


def test_an_argument_of_own_code_and_another_family_are_factors_of_one_study():
    tree = {
        "name": "x",
        "baseline": {"model": {"family": "my_pkg.nets:Net", "args": {"dim": 8}}},
        "factors": {"model.args.dim": [4, 8], "model.family": ["my_pkg.nets:Net", "cnn"]},
    }
    arms = {arm.name: arm.config.model for arm in make_plan(study_from(tree)).arms}
    assert arms["dim=4"].args == {"dim": 4}
    assert (arms["family=cnn"].family, arms["family=cnn"].args) == ("cnn", {})
