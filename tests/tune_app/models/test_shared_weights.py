"""Networks with one seed share every initial tensor of equal name and shape, whatever else differs between them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.config.trial import ModelConfig
from tune_app.models import build_model

NORMS = ["batch", "torch_batch", "instance", "batch_instance", "layer", "group", "none"]


def weights(seed: int = 0, **fields: Any) -> dict[str, Tensor]:
    """Return the parameters of a network after other draws from the global generator, which must not matter."""
    torch.rand(5)
    return dict(build_model(ModelConfig(**{"depth": 14, "width": 8, **fields}), 3, 10, 16, seed).named_parameters())


def shared(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    common = {name for name in one.keys() & other.keys() if one[name].shape == other[name].shape}
    for name in common:
        assert torch.equal(one[name], other[name]), name
    return common


@pytest.mark.parametrize("family", ["resnet", "plain", "cnn", "resnet18", "resnet50", "resnext", "densenet"])
def test_a_convolution_bias_changes_no_weight(family: str) -> None:
    small: dict[str, Any] = {"family": family, "groups": 4, "growth_rate": 8}
    if family in ("resnet18", "resnet50", "resnext", "densenet"):
        small["blocks"] = (1, 1)
    without, with_bias = weights(**small), weights(**small, conv_bias=True)
    assert shared(without, with_bias) == set(without)
    assert all(not with_bias[name].any() for name in with_bias.keys() - without.keys())


def test_a_shallow_network_is_the_beginning_of_each_stage_of_a_deep_one() -> None:
    shallow, deep = weights(depth=8), weights(depth=14)
    assert shared(shallow, deep) == set(shallow)
    assert {name for name in deep if ".1." in name and name.endswith("conv1.weight")} == {
        f"features.layer{stage}.1.conv1.weight" for stage in (1, 2, 3)
    }


@pytest.mark.parametrize("norm", NORMS)
def test_norms_and_their_placement_change_no_weight(norm: str) -> None:
    reference = weights(norm="none")
    assert shared(weights(norm=norm, norm_groups=4), reference) == set(reference)
    assert shared(weights(norm=norm, norm_placement="conv_relu_norm", norm_groups=4), reference) == set(reference)


def test_plain_and_residual_networks_share_what_they_have_in_common() -> None:
    plain = weights(family="plain")
    assert shared(plain, weights(family="resnet")) == set(plain)
    projected = weights(family="resnet", shortcut="projection")
    assert shared(plain, projected) == set(plain)
    assert "features.layer2.0.shortcut.0.weight" in projected


def test_another_width_shares_no_convolution_and_equal_shapes_of_other_names_are_independent() -> None:
    narrow, wide = weights(width=8), weights(width=16)
    assert not {name for name in shared(narrow, wide) if "conv" in name}
    same_shape = [value.flatten() for name, value in wide.items() if value.shape == (16, 16, 3, 3)]
    correlations = torch.corrcoef(torch.stack(same_shape)) - torch.eye(len(same_shape))
    assert len(same_shape) >= 4
    assert correlations.abs().max() < 4.5 / same_shape[0].numel() ** 0.5


def test_seeds_give_independent_weights_of_the_variance_of_he() -> None:
    name = "features.layer3.0.conv2.weight"
    drawn = torch.stack([weights(seed, width=16)[name].flatten() for seed in range(6)]).detach()
    n, fan_out = drawn.shape[1], 64 * 9
    assert (torch.corrcoef(drawn) - torch.eye(6)).abs().max() < 4.5 / n**0.5
    # The variance of n normal values has a relative standard error of sqrt(2 / n).
    assert drawn.var(1).numpy() == pytest.approx([2 / fan_out] * 6, rel=4.5 * math.sqrt(2 / n))
    assert drawn.mean(1).abs().max() < 4.5 * math.sqrt(2 / fan_out / n)


def test_the_linear_layer_is_uniform_within_the_inverse_root_of_its_fan_in() -> None:
    head = weights(seed=1, width=64)["head.weight"].detach().flatten()
    bound = 1 / math.sqrt(256)
    assert head.abs().max() <= bound
    assert head.var().item() == pytest.approx(bound**2 / 3, rel=0.1)


def test_every_weight_of_the_cnn_starts_after_he_with_fan_out() -> None:
    model = build_model(ModelConfig(family="cnn"), 3, 10, 32)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_out = module.weight.shape[0] * module.weight[0, 0].numel()
            deviation = module.weight.std().item()
            assert deviation == pytest.approx(math.sqrt(2 / fan_out), rel=4.5 / math.sqrt(2 * module.weight.numel()))


def test_the_source_order_of_the_cnn_is_convolution_pool_relu_norm() -> None:
    model = build_model(ModelConfig(family="cnn", norm="torch_batch", norm_placement="conv_relu_norm"), 3, 10, 32)
    kinds = [type(module) for module in model.features.children()][:-1]
    assert kinds == [nn.Conv2d, nn.MaxPool2d, nn.ReLU, nn.BatchNorm2d] * 4
