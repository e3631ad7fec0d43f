from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
import torchvision
from torch import nn

from search_spaces.config.trial import DecayPolicy, Norm, OptimizerConfig, TrialConfig, WeightDecayConfig
from search_spaces.errors import StudyError
from tune_app.models import NORMS, build_model, parameter_rows
from tune_app.training import DECAY_POLICIES, decayed_names, misnamed, parameter_groups

OPTIMIZER = OptimizerConfig(weight_decay=5e-4)


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = torchvision.models.resnet18(weights=None)
    return model


def sizes(groups: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return each group's number of scalars and of tensors."""
    return {group["name"]: (sum(p.numel() for p in group["params"]), len(group["params"])) for group in groups}


def test_the_three_groups_of_resnet18_have_their_known_sizes(resnet18: nn.Module) -> None:
    groups = parameter_groups(resnet18, OPTIMIZER, WeightDecayConfig(policy="three_groups"))
    assert sizes(groups) == {"rest": (11_678_912, 21), "norm": (9_600, 40), "bias": (1_000, 1)}


def test_no_bias_or_norm_decays_the_weights_of_resnet18_alone(resnet18: nn.Module) -> None:
    groups = parameter_groups(resnet18, OPTIMIZER, WeightDecayConfig(policy="no_bias_or_norm"))
    assert sizes(groups) == {"decayed": (11_678_912, 21), "undecayed": (10_600, 41)}
    assert {group["name"]: group["weight_decay"] for group in groups} == {"decayed": 5e-4, "undecayed": 0.0}


def test_the_rule_by_name_misses_the_norms_of_the_downsamples(resnet18: nn.Module) -> None:
    assert misnamed(resnet18) == [f"layer{stage}.0.downsample.1.weight" for stage in (2, 3, 4)]
    groups = parameter_groups(resnet18, OPTIMIZER, WeightDecayConfig(policy="by_name"))
    assert sizes(groups)["decayed"] == (11_678_912 + 128 + 256 + 512, 24)


def test_every_group_has_its_configured_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(), nn.Linear(2, 2))
    config = TrialConfig().with_values(
        {
            "optimizer.weight_decay": 0.3,
            "weight_decay_grouping": {"policy": "three_groups", "norm_decay": 0.2, "bias_decay": 0.1},
        }
    )
    assert decayed_names(model, config) == {
        "0.weight": 0.3,
        "0.bias": 0.1,
        "1.weight": 0.2,
        "1.bias": 0.2,
        "2.weight": 0.3,
        "3.weight": 0.3,
        "3.bias": 0.1,
    }
    groups = parameter_groups(model, config.optimizer, config.weight_decay_grouping)
    assert {group["name"]: group["weight_decay"] for group in groups} == {"rest": 0.3, "norm": 0.2, "bias": 0.1}


def test_the_biases_of_attention_are_biases() -> None:
    model = nn.Sequential(nn.MultiheadAttention(4, 2, add_bias_kv=True))
    biases = {"0.in_proj_bias", "0.bias_k", "0.bias_v", "0.out_proj.bias"}
    assert {name for name, decay in decayed_names(model, TrialConfig()).items() if decay == 0} == biases
    assert misnamed(model) == []
    assert {row.name for row in parameter_rows(model) if row.role == "bias"} == biases


def test_all_decays_every_parameter() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    (group,) = parameter_groups(model, OPTIMIZER, WeightDecayConfig(policy="all"))
    assert group["weight_decay"] == 5e-4
    assert len(group["params"]) == 4


@pytest.mark.parametrize("policy", DECAY_POLICIES)
@pytest.mark.parametrize("norm", NORMS)
def test_every_policy_partitions_every_models_parameters(
    policy: DecayPolicy, norm: Norm, config_with: Callable[..., TrialConfig]
) -> None:
    config = config_with(model__norm=norm, model__norm_groups=2, model__conv_bias=True)
    model = build_model(config.model, 1, 3, 8)
    groups = parameter_groups(model, OPTIMIZER, WeightDecayConfig(policy=policy))
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())


@pytest.mark.parametrize("policy", DECAY_POLICIES)
def test_gates_never_decay_and_learn_ten_times_as_fast(
    policy: DecayPolicy, config_with: Callable[..., TrialConfig]
) -> None:
    model = build_model(config_with(model__norm="batch_instance").model, 1, 3, 8)
    gates = {id(parameter) for parameter in model.parameters() if getattr(parameter, "no_decay", False)}
    assert gates
    decays = WeightDecayConfig(policy=policy, norm_decay=0.1, bias_decay=0.1)
    for group in parameter_groups(model, OPTIMIZER, decays):
        is_gate = {id(parameter) in gates for parameter in group["params"]}
        assert len(is_gate) == 1
        assert group["lr_scale"] == (10.0 if is_gate == {True} else 1.0)
        if is_gate == {True}:
            assert group["weight_decay"] == 0


def test_a_tensor_shared_between_roles_is_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    model[1].weight = model[0].bias
    with pytest.raises(StudyError, match=r"shares `1\.weight`.*'norm'.*policy 'all'"):
        parameter_groups(model, OPTIMIZER, WeightDecayConfig(policy="three_groups"))
    assert len(parameter_groups(model, OPTIMIZER, WeightDecayConfig(policy="all"))[0]["params"]) == 3


def test_the_registry_is_the_configs_list() -> None:
    assert set(DECAY_POLICIES) == set(get_args(DecayPolicy))
