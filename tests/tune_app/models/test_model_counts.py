"""Exact parameter counts, and torchvision's networks as the oracle of ours."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
import torchvision

from search_spaces.config.defaults import BLOCKS, WIDTHS
from search_spaces.config.trial import Family, ModelConfig
from tune_app.models import MODELS, ImageClassifier, build_model

pytestmark = pytest.mark.slow

LARGE = {"stem": "large", "norm": "torch_batch"}
TORCHVISION: dict[str, dict[str, Any]] = {
    "resnet18": {"family": "resnet18"},
    "resnet50": {"family": "resnet50"},
    "resnext50_32x4d": {"family": "resnext"},
    "densenet121": {"family": "densenet", "dense_bottleneck": True, "blocks": (6, 12, 24, 16)},
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def build(classes: int = 10, resolution: int = 32, **fields: Any) -> ImageClassifier:
    return build_model(ModelConfig(**fields), 3, classes, resolution)


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_every_family_of_the_config_has_one_entry() -> None:
    assert set(MODELS) == set(get_args(Family))


@pytest.mark.parametrize("family", get_args(Family))
def test_null_is_the_family_s_own_width_and_blocks(family: str) -> None:
    with torch.device("meta"):
        own = {"width": WIDTHS[family], "blocks": BLOCKS.get(family)}
        assert str(build(family=family)) == str(build(family=family, **own))


@pytest.mark.parametrize("norm", ["batch", "torch_batch"])
@pytest.mark.parametrize(
    ("depth", "conv_bias", "expected"),
    [
        (14, False, 172_506),
        (20, False, 269_722),
        (56, False, 853_018),
        (110, False, 1_727_962),
        (20, True, 270_410),
        (56, True, 855_050),
        (110, True, 1_732_010),
    ],
)
def test_residual_and_plain_networks_have_the_published_counts(
    depth: int, conv_bias: bool, expected: int, norm: str
) -> None:
    for family in ("resnet", "plain"):
        assert count(build(family=family, depth=depth, conv_bias=conv_bias, norm=norm)) == expected


def test_projection_shortcuts_add_two_convolutions_and_two_norms() -> None:
    added = count(build(shortcut="projection")) - count(build())
    assert added == (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


def test_gates_add_a_parameter_a_channel() -> None:
    channels = 16 * 5 + 32 * 4 + 64 * 4
    assert count(build(norm="batch_instance")) - count(build(norm="batch")) == channels
    assert count(build(norm="batch")) - count(build(norm="none")) == 2 * channels


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet18", 11_689_512), ("resnet50", 25_557_032), ("resnext50_32x4d", 25_028_904), ("densenet121", 7_978_856)],
)
def test_torchvisions_weights_give_torchvisions_outputs(name: str, expected: int) -> None:
    theirs = getattr(torchvision.models, name)()
    ours = build(1000, 64, **LARGE, **TORCHVISION[name])
    assert count(ours) == count(theirs) == expected
    weights = theirs.state_dict()
    ours.load_state_dict(dict(zip(ours.state_dict(), weights.values(), strict=True)))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_densenet_bc_100_12_has_the_published_count() -> None:
    bc = {"blocks": (16, 16, 16), "growth_rate": 12, "width": 24, "dense_bottleneck": True}
    assert count(build(family="densenet", **bc)) == 769_162


@pytest.mark.parametrize("groups", [1, 2, 8, 32])
def test_resnext_groups_is_the_number_of_groups(groups: int) -> None:
    """The 3x3 convolutions have middle^2 * 9 / groups weights; nothing else depends on the groups."""
    small = {"family": "resnext", "blocks": (1, 1), "width": 16}
    dense = count(build(**small, groups=1))
    middles = (32, 64)
    assert dense - count(build(**small, groups=groups)) == sum(9 * m * m - 9 * m * m // groups for m in middles)


def test_resnext_bottleneck_multiplier_sets_the_middle_width() -> None:
    for multiplier, middle in ((0.25, 16), (0.5, 32), (1.0, 64)):
        model = build(family="resnext", blocks=(1,), width=16, groups=4, bottleneck_multiplier=multiplier)
        conv = model.get_submodule("features.layer1.0.conv2")
        assert (conv.in_channels, conv.out_channels, conv.groups) == (middle, middle, 4)
