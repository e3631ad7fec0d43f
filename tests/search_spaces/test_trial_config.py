from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest
from pydantic import ValidationError

from search_spaces.config import config_from
from search_spaces.config.base import Part
from search_spaces.config.sections import MAX_LAYERS
from search_spaces.config.trial import TrialConfig, field_paths, set_path
from search_spaces.errors import StudyError

OTHER_VALUES = {
    "data.source": "cifar10",
    "data.path": "elsewhere",
    "data.train_size": 100,
    "data.validation_fraction": 0.3,
    "data.validation_size": 50,
    "data.test_size": 60,
    "data.resolution": 16,
    "data.split": "fixed",
    "data.split_seed": 1,
    "model.family": "plain",
    "model.depth": 20,
    "model.width": 24,
    "model.norm": "layer",
    "model.norm_groups": 4,
    "model.norm_placement": "conv_relu_norm",
    "model.conv_bias": True,
    "model.shortcut": "projection",
    "model.zero_init_last_norm": True,
    "model.dropout": 0.1,
    "model.stem": "large",
    "model.blocks": [1, 1],
    "model.bottleneck_stride": "v1",
    "model.groups": 16,
    "model.bottleneck_multiplier": 1.0,
    "model.growth_rate": 12,
    "model.dense_bottleneck": True,
    "optimizer.name": "nesterov",
    "optimizer.lr": 0.2,
    "optimizer.momentum": 0.8,
    "optimizer.beta1": 0.8,
    "optimizer.beta2": 0.99,
    "optimizer.weight_decay": 1e-3,
    "optimizer.clip_norm": 1.0,
    "schedule.kind": "constant",
    "schedule.step_size": 2,
    "schedule.milestones": [2, 4],
    "schedule.gamma": 0.5,
    "schedule.interval": "step",
    "schedule.final_factor": 0.1,
    "schedule.pct_start": 0.2,
    "schedule.div_factor": 10.0,
    "schedule.final_div_factor": 100.0,
    "schedule.warmup_epochs": 1.0,
    "schedule.warmup_until_train_error": 0.8,
    "weight_decay_grouping.policy": "all",
    "weight_decay_grouping.norm_decay": 1e-4,
    "weight_decay_grouping.bias_decay": 1e-4,
    "augmentation.policy": "crop_flip",
    "augmentation.padding": 2,
    "augmentation.flip": False,
    "augmentation.operations": 3,
    "augmentation.magnitude": 5,
    "batch_size": 64,
    "epochs": 11,
    "precision": "float32",
    "seed": 1,
}
IDLE_BY_DEFAULT = {
    "data.split_seed",
    "model.norm_groups",
    "model.dropout",
    "model.stem",
    "model.blocks",
    "model.bottleneck_stride",
    "model.groups",
    "model.bottleneck_multiplier",
    "model.growth_rate",
    "model.dense_bottleneck",
    "optimizer.beta1",
    "optimizer.beta2",
    "schedule.step_size",
    "schedule.milestones",
    "schedule.gamma",
    "schedule.pct_start",
    "schedule.div_factor",
    "schedule.final_div_factor",
    "weight_decay_grouping.norm_decay",
    "weight_decay_grouping.bias_decay",
    "augmentation.padding",
    "augmentation.flip",
    "augmentation.operations",
    "augmentation.magnitude",
}


def awake(path: str) -> TrialConfig:
    """Return a config in which the field at ``path`` has an effect."""
    section, _, field = path.partition(".")
    part = getattr(TrialConfig(), section)
    if not isinstance(part, Part) or field not in part.has_effect:
        return TrialConfig()
    selector, values = part.has_effect[field]
    return TrialConfig().with_values({f"{section}.{selector}": sorted(values)[0]})


def test_default_digest_is_pinned():
    # A store is addressed by digests: a new default, a renamed field or another canonical form makes every stored trial
    # unfindable, without any error. Change this figure only on purpose, and say so in the release notes.
    assert TrialConfig().digest() == "ef021e08f742a1d5"  # training version 2


def test_a_config_of_training_version_1_has_a_fixed_split_and_the_digest_of_its_release():
    stored = config_from({"data": {"split_seed": 3}}, stored=True)
    assert (stored.training_version, stored.data.split) == (1, "fixed")
    assert config_from({}, stored=True).digest() == "0f99f1aca22e8b85"
    again = config_from(stored.model_dump(mode="json"), stored=True)
    assert again == stored
    assert "split" not in stored.canonical()["data"]
    present = TrialConfig.model_validate({"data": {"split": "fixed", "split_seed": 3}})
    assert present.canonical() == stored.canonical() | {"training_version": 2}


def test_every_field_has_another_value_here():
    assert set(OTHER_VALUES) == set(field_paths())


@pytest.mark.parametrize("path", sorted(set(OTHER_VALUES) - {"data.path"}))
def test_digest_changes_with_every_field_that_has_an_effect(path):
    config = awake(path)
    changed = config.with_values({path: OTHER_VALUES[path]})
    assert changed.get(path) != config.get(path)
    assert changed.digest() != config.digest()


@pytest.mark.parametrize("path", sorted(OTHER_VALUES))
def test_digest_changes_by_default_unless_the_field_is_idle_or_a_mere_name(path):
    same = TrialConfig().with_values({path: OTHER_VALUES[path]}).digest() == TrialConfig().digest()
    assert same == (path in IDLE_BY_DEFAULT | {"data.path"})


def test_digests_of_all_other_values_differ_from_each_other():
    digests = [awake(path).with_values({path: value}).digest() for path, value in OTHER_VALUES.items()]
    assert len(set(digests)) == len(digests)


def test_digest_is_the_same_in_another_process_whatever_the_hash_seed():
    code = "from search_spaces.config.trial import TrialConfig; print(TrialConfig().digest())"
    for hash_seed in ("0", "1"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == TrialConfig().digest()


def test_digest_does_not_depend_on_the_order_of_keys():
    tree = TrialConfig().model_dump(mode="json")
    rng = random.Random(0)
    for _ in range(3):
        mixed = {
            key: dict(rng.sample(list(v.items()), len(v))) if isinstance(v, dict) else v for key, v in tree.items()
        }
        mixed = dict(rng.sample(list(mixed.items()), len(mixed)))
        assert TrialConfig.model_validate(mixed).digest() == TrialConfig().digest()


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0, -0.0)])
def test_equal_numbers_have_equal_digests(one, other):
    path = "optimizer.lr" if one else "optimizer.weight_decay"
    assert TrialConfig().with_values({path: one}).digest() == TrialConfig().with_values({path: other}).digest()


def test_canonical_is_strict_json_without_idle_fields():
    canonical = TrialConfig().canonical()
    assert json.loads(json.dumps(canonical, allow_nan=False)) == canonical
    assert "path" not in canonical["data"]
    assert "groups" not in canonical["model"]
    assert canonical["model"]["depth"] == 14


def test_settings_that_nothing_decays_or_normalizes_by_are_one_and_the_same():
    without = TrialConfig().with_values({"optimizer.weight_decay": 0.0})
    assert without.with_values({"weight_decay_grouping.policy": "all"}).digest() == without.digest()
    assert without.with_values({"weight_decay_grouping.policy": "three_groups"}).digest() != without.digest()
    bare = TrialConfig().with_values({"model.norm": "none"})
    assert bare.with_values({"model.zero_init_last_norm": True}).digest() == bare.digest()


def test_every_selector_names_a_field_and_values_that_it_can_have():
    for section in ("model", "optimizer", "schedule", "weight_decay_grouping", "augmentation"):
        part = getattr(TrialConfig(), section)
        for field, (selector, values) in part.has_effect.items():
            assert field in type(part).model_fields
            for value in values:
                assert TrialConfig().with_values({f"{section}.{selector}": value}).get(f"{section}.{selector}") == value


def test_dumped_config_reads_back_the_same():
    config = TrialConfig().with_values({"model.blocks": [2, 2], "schedule.milestones": [3]})
    assert TrialConfig.model_validate_json(config.model_dump_json()) == config
    assert TrialConfig.model_validate(config.model_dump(mode="json")).digest() == config.digest()


def test_get_returns_the_value_at_a_path():
    assert TrialConfig().get("model.norm") == "batch"
    assert TrialConfig().get("seed") == 0
    assert TrialConfig().get("model") == TrialConfig().model


@pytest.mark.parametrize("path", ["", "modle", "model.nrom", "seed.x", "model.norm.x", "model.has_effect"])
def test_get_refuses_what_is_no_path(path):
    with pytest.raises(KeyError):
        TrialConfig().get(path)


def test_config_is_frozen():
    with pytest.raises(ValidationError):
        TrialConfig().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("path", ["optimizer.lr", "optimizer.weight_decay", "schedule.warmup_epochs"])
def test_numbers_must_be_finite(path, number):
    with pytest.raises(ValidationError):
        TrialConfig().with_values({path: number})


@pytest.mark.parametrize(
    "values",
    [
        {"model.depth": 21},
        {"model.depth": 2},
        {"model.depth": -4},
        {"model.depth": MAX_LAYERS * 6 + 2},
        {"model.blocks": []},
        {"model.blocks": [0]},
        {"optimizer.name": "nesterov", "optimizer.momentum": 0.0},
        {"schedule.milestones": []},
        {"schedule.milestones": [3, 2]},
        {"schedule.milestones": [0]},
        {"schedule.milestones": [2, 2]},
        {"schedule.warmup_epochs": 10.0},
        {"seed": 2**32},
        {"batch_size": True},
        {"batch_size": 32.0},
        {"data.split_seed": -1},
    ],
)
def test_impossible_configs_are_refused(values):
    with pytest.raises(ValidationError):
        TrialConfig().with_values(values)


def test_depth_is_free_where_it_is_idle():
    assert TrialConfig().with_values({"model.family": "cnn", "model.depth": 21}).digest()


def test_set_path_makes_mappings_on_the_way():
    tree = {"a": None}
    set_path(tree, "a.b.c", 1)
    assert tree == {"a": {"b": {"c": 1}}}


@pytest.mark.parametrize("path", ["", ".", "a..b", ".a", "a."])
def test_set_path_refuses_broken_paths(path):
    with pytest.raises(StudyError, match="not a path"):
        set_path({}, path, 1)


def test_set_path_does_not_replace_a_value_by_a_mapping():
    with pytest.raises(StudyError, match="`a` is 3"):
        set_path({"a": 3}, "a.b", 1)


def test_every_field_is_described():
    assert [path for path, text in field_paths().items() if not text] == []
