"""What each family promises about its shape, its blocks and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from search_spaces.config.trial import ModelConfig
from search_spaces.errors import StudyError
from tune_app.models import build_model, model_notes
from tune_app.models.densenet import DenseBlock, transition
from tune_app.models.layers import Layers
from tune_app.models.residual import PaddedIdentity


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def build(resolution: int = 32, **fields: Any) -> nn.Module:
    return build_model(ModelConfig(**fields), 3, 10, resolution)


def shuffle_affine(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.rand_like(parameter) + 0.5)
    return model


def test_padded_identity_subsamples_and_appends_zero_channels() -> None:
    x = torch.randn(2, 3, 5, 4)
    out = PaddedIdentity(2, stride=2)(x)
    assert out.shape == (2, 5, 3, 2)
    assert torch.equal(out[:, :3], x[:, :, ::2, ::2])
    assert not out[:, 3:].any()


@pytest.mark.parametrize("placement", ["conv_norm_relu", "conv_relu_norm"])
@pytest.mark.parametrize("family", ["resnet", "plain"])
def test_a_block_is_the_documented_formula(family: str, placement: str) -> None:
    model = shuffle_affine(build(family=family, norm_placement=placement, depth=8))
    x = torch.randn(4, 16, 8, 8)
    b = model.get_submodule("features.layer2.0")
    relu, shortcut = torch.relu, torch.cat((x[:, :, ::2, ::2], torch.zeros(4, 16, 4, 4)), dim=1)
    shortcut = shortcut if family == "resnet" else torch.zeros_like(shortcut)
    if placement == "conv_norm_relu":
        expected = relu(b.bn2(b.conv2(relu(b.bn1(b.conv1(x))))) + shortcut)
    else:
        expected = b.bn2(relu(b.conv2(b.bn1(relu(b.conv1(x)))))) + shortcut
    torch.testing.assert_close(b(x), expected)


@pytest.mark.parametrize("placement", ["conv_norm_relu", "conv_relu_norm"])
@pytest.mark.parametrize("family", ["resnet50", "resnext"])
def test_a_bottleneck_is_the_documented_formula(family: str, placement: str) -> None:
    model = build(family=family, norm_placement=placement, width=8, groups=2, blocks=(1, 1))
    x = torch.randn(4, 32, 8, 8)
    b = shuffle_affine(model).get_submodule("features.layer2.0")
    relu, shortcut = torch.relu, b.shortcut[1](b.shortcut[0](x))
    if placement == "conv_norm_relu":
        branch = b.bn3(b.conv3(relu(b.bn2(b.conv2(relu(b.bn1(b.conv1(x))))))))
        expected = relu(branch + shortcut)
    else:
        branch = b.bn3(relu(b.conv3(b.bn2(relu(b.conv2(b.bn1(relu(b.conv1(x)))))))))
        expected = branch + shortcut
    torch.testing.assert_close(b(x), expected)


def test_norm_placement_matters_with_a_norm_and_not_without_one() -> None:
    x = torch.randn(4, 3, 16, 16)
    for family in ("resnet", "cnn", "densenet", "resnet50"):
        for norm, equal in (("none", True), ("batch", False)):
            outputs = []
            for placement in ("conv_norm_relu", "conv_relu_norm"):
                torch.manual_seed(3)
                small = {"blocks": (1, 1), "width": 8, "growth_rate": 8, "depth": 8, "dropout": 0.0}
                outputs.append(build(16, family=family, norm=norm, norm_placement=placement, **small)(x))
            assert torch.allclose(*outputs) == equal, (family, norm)


@pytest.mark.parametrize(("version", "strides"), [("v1", (2, 1)), ("v1.5", (1, 2))])
def test_a_bottleneck_strides_where_the_version_says(version: str, strides: tuple[int, int]) -> None:
    model = build(family="resnet50", width=8, blocks=(1, 2), bottleneck_stride=version)
    block = model.get_submodule("features.layer2.0")
    assert (block.conv1.stride[0], block.conv2.stride[0]) == strides
    assert model.get_submodule("features.layer2.1").conv2.stride == (1, 1)
    assert model.get_submodule("features.layer2")(torch.randn(2, 32, 8, 8)).shape == (2, 64, 4, 4)


@pytest.mark.parametrize("placement", ["conv_norm_relu", "conv_relu_norm"])
@pytest.mark.parametrize(
    ("family", "last"), [("resnet", "bn2"), ("resnet18", "bn2"), ("resnet50", "bn3"), ("resnext", "bn3")]
)
def test_zero_initialised_residual_blocks_start_as_the_identity(family: str, last: str, placement: str) -> None:
    fields = {"family": family, "width": 16, "depth": 14, "blocks": (2, 1), "groups": 4, "norm_placement": placement}
    block = build(**fields, zero_init_last_norm=True).get_submodule("features.layer1.1")
    assert not block.get_submodule(last).weight.any()
    assert block.bn1.weight.all()
    x = torch.rand(2, block.conv1.in_channels, 8, 8)
    assert torch.equal(block(x), x)
    assert build(**fields).get_submodule(f"features.layer1.1.{last}").weight.all()


def test_zero_initialisation_does_not_change_a_plain_network() -> None:
    assert build(family="plain", zero_init_last_norm=True).get_submodule("features.layer1.0.bn2").weight.all()


@pytest.mark.parametrize(
    ("family", "stem", "side"), [("resnet18", "small", 32), ("resnet18", "large", 8), ("densenet", "large", 8)]
)
def test_stems_keep_or_quarter_the_sides(family: str, stem: str, side: int) -> None:
    model = build(family=family, stem=stem, blocks=(1,), width=8)
    seen = []
    first = model.get_submodule("features.layer1" if family == "resnet18" else "features.denseblock1")
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-1]))
    model(torch.randn(1, 3, 32, 32))
    assert seen == [side]


def test_resnet18_has_the_lectures_stages() -> None:
    model = build(64, family="resnet18", stem="large")
    shapes: list[tuple[int, ...]] = []
    for stage in range(1, 5):
        layer = model.get_submodule(f"features.layer{stage}")
        assert len(layer) == 2
        layer.register_forward_hook(lambda module, inputs, out: shapes.append(tuple(out.shape[1:])))
    model(torch.randn(2, 3, 64, 64))
    assert shapes == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]


def test_a_dense_block_concatenates_and_a_transition_halves() -> None:
    layers, x = Layers(ModelConfig()), torch.randn(4, 3, 8, 8)
    y = DenseBlock(layers, 3, count=2, growth_rate=10)(x)
    assert y.shape == (4, 23, 8, 8)
    assert torch.equal(y[:, :3], x)
    assert transition(layers, 23, 10)(y).shape == (4, 10, 4, 4)


def test_densenet_has_the_lectures_widths() -> None:
    model = build(64, family="densenet", stem="large")
    widths = [model.get_submodule(f"features.transition{i}.conv").in_channels for i in (1, 2, 3)]
    kept = [model.get_submodule(f"features.transition{i}.conv").out_channels for i in (1, 2, 3)]
    assert (widths, kept) == ([192, 224, 240], [96, 112, 120])
    assert model.head.in_features == 248


@pytest.mark.parametrize(("resolution", "pools", "inputs"), [(32, 4, 1024), (16, 3, 1024), (8, 2, 1024), (64, 4, 4096)])
def test_the_cnn_pools_while_sides_stay_at_least_two(resolution: int, pools: int, inputs: int) -> None:
    model = build(resolution, family="cnn")
    assert sum(isinstance(m, nn.MaxPool2d) for m in model.modules()) == pools
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 4
    assert [type(m) for m in model.head] == [nn.Dropout, nn.Linear, nn.ReLU, nn.Linear]
    assert model.head[1].in_features == inputs
    assert model.features(torch.randn(2, 3, resolution, resolution)).shape == (2, inputs)


def test_convolutions_start_after_he_with_fan_out_and_zero_biases() -> None:
    model = build(family="resnet18", conv_bias=True)
    conv = model.get_submodule("features.layer4.0.conv1")
    assert conv.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert not any(m.bias.any() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear))


@pytest.mark.parametrize(
    ("resolution", "fields", "message"),
    [
        (
            32,
            {"norm": "group", "norm_groups": 3},
            "`model.norm_groups` is 3.*features.bn1 has 16; possible values: 1, 2, 4, 8, 16",
        ),
        (32, {"norm": "group", "norm_groups": 32}, "is 32.*bn1 has 16"),
        (32, {"norm": "group", "family": "densenet", "growth_rate": 12}, "is 8.*norm1 has 76; possible values: 1, 2"),
        (4, {"norm": "instance"}, "`model.norm` is instance, but images are 1x1 at features.layer3.0.bn1"),
        (8, {"norm": "batch_instance", "family": "resnet18"}, "images are 1x1 at features.layer4.0.bn1"),
        (32, {"family": "resnext", "groups": 7}, "`model.groups` is 7, but must divide the 128 channels"),
        (32, {"family": "resnext", "bottleneck_multiplier": 0.3}, "must divide the 76.8 channels"),
        (7, {"family": "densenet"}, "`data.resolution` is 7.*needs 8 or more"),
        (28, {"family": "densenet", "stem": "large"}, "`data.resolution` is 28.*needs 29 or more"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_impossible_combinations_are_refused_with_a_remedy(
    resolution: int, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        build(resolution, **fields)
    with pytest.raises(StudyError, match=message):
        model_notes(ModelConfig(**fields), 3, resolution)


@pytest.mark.parametrize(("stem", "smallest"), [("small", 8), ("large", 29)])
def test_the_smallest_resolution_of_a_densenet_is_exact(stem: str, smallest: int) -> None:
    model = build(smallest, family="densenet", stem=stem, growth_rate=4, width=8)
    assert model(torch.randn(2, 3, smallest, smallest)).shape == (2, 10)
    with pytest.raises(RuntimeError, match="too small"):
        model(torch.randn(2, 3, smallest - 1, smallest - 1))


def test_padded_shortcuts_work_with_an_odd_width() -> None:
    assert build(8, width=7)(torch.randn(2, 3, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("fields", "notes"),
    [
        ({}, []),
        ({"norm": "group"}, []),
        ({"norm": "group", "norm_groups": 1}, ["group norm with 1 group is layer norm"]),
        (
            {"norm": "group", "norm_groups": 16, "depth": 8},
            ["16 groups is instance norm at features.bn1, features.layer1.0.bn1, features.layer1.0.bn2"],
        ),
        (
            {"norm": "group", "norm_groups": 16},
            ["instance norm at features.bn1, features.layer1.0.bn1 and 3 more layers"],
        ),
        ({"conv_bias": True}, ["a convolution bias before batch norm has zero gradient"]),
        ({"conv_bias": True, "norm": "layer"}, []),
        ({"conv_bias": True, "norm_placement": "conv_relu_norm"}, []),
        ({"zero_init_last_norm": True, "norm": "none"}, ["zero_init_last_norm has no effect"]),
        ({"norm": "batch_instance"}, ["batch-instance norm starts as batch norm"]),
    ],
    ids=str,
)
def test_notes_describe_special_cases_of_a_config(fields: dict[str, Any], notes: list[str]) -> None:
    written = model_notes(ModelConfig(**fields))
    assert len(written) == len(notes)
    assert all(expected in note for expected, note in zip(notes, written, strict=True))


def test_building_does_not_draw_more_than_the_weights() -> None:
    """The look at shapes beforehand leaves torch's generator alone."""
    torch.manual_seed(0)
    model_notes(ModelConfig(family="cnn"))
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after)
