"""The layer-by-layer listing: every parameter once, in its role."""

from __future__ import annotations

import pytest
import torchvision
from torch import nn

from search_spaces.config.trial import ModelConfig
from tune_app.models import ParameterRow, build_model, parameter_rows


def totals(model: nn.Module) -> dict[str, tuple[int, int]]:
    rows = parameter_rows(model)
    return {
        role: (sum(r.count for r in rows if r.role == role), sum(r.role == role for r in rows))
        for role in ("norm", "bias", "weight")
    }


@pytest.mark.parametrize(
    "model",
    [
        torchvision.models.resnet18(),
        build_model(ModelConfig(family="resnet18", stem="large", norm="torch_batch"), 3, 1000, 64),
        build_model(ModelConfig(family="resnet18", stem="large", norm="batch"), 3, 1000, 64),
    ],
    ids=["torchvision", "torch_batch", "batch"],
)
def test_resnet18_splits_into_the_known_groups(model: nn.Module) -> None:
    assert totals(model) == {"norm": (9_600, 40), "bias": (1_000, 1), "weight": (11_678_912, 21)}


def test_rows_name_shape_and_kind() -> None:
    rows = parameter_rows(build_model(ModelConfig(conv_bias=True, norm="batch_instance"), 1, 10, 8))
    assert rows[:5] == [
        ParameterRow("features.conv1.weight", "convolution", (16, 1, 3, 3), 144, "weight"),
        ParameterRow("features.conv1.bias", "convolution", (16,), 16, "bias"),
        ParameterRow("features.bn1.weight", "BatchInstanceNorm", (16,), 16, "norm"),
        ParameterRow("features.bn1.bias", "BatchInstanceNorm", (16,), 16, "norm"),
        ParameterRow("features.bn1.gate", "BatchInstanceNorm", (16,), 16, "norm"),
    ]
    assert rows[-1] == ParameterRow("head.bias", "linear", (10,), 10, "bias")


def test_listing_covers_every_parameter_of_every_kind_of_layer() -> None:
    model = nn.Sequential(nn.PReLU(), nn.LayerNorm(3), nn.GRUCell(3, 4))
    assert [r.name for r in parameter_rows(model)] == [name for name, _ in model.named_parameters()]
    assert [(r.kind, r.role) for r in parameter_rows(model)[:3]] == [
        ("PReLU", "weight"),
        ("LayerNorm", "norm"),
        ("LayerNorm", "norm"),
    ]
    assert totals(model)["bias"] == (0, 0)  # those of convolutions and linear layers only


def test_a_shared_parameter_is_listed_once() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert [r.name for r in parameter_rows(nn.Sequential(first, second))] == ["0.weight", "0.bias", "1.bias"]
    assert len(parameter_rows(nn.Sequential(first, first))) == 2


def test_the_names_bn_and_bias_miss_the_norms_of_shortcuts_and_of_densenets() -> None:
    def missed(**fields: object) -> list[str]:
        rows = parameter_rows(build_model(ModelConfig(**fields), 3, 10, 32))
        return [r.name for r in rows if r.role == "norm" and "bn" not in r.name and "bias" not in r.name]

    assert missed() == []
    assert missed(shortcut="projection") == [f"features.layer{s}.0.shortcut.1.weight" for s in (2, 3)]
    assert len(missed(family="densenet", blocks=(1, 1))) == 4
