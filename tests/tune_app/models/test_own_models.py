"""Networks of the user's own, and of timm and torchvision, behave like the built-in ones."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from search_spaces.config.trial import ModelConfig, OptimizerConfig, WeightDecayConfig
from search_spaces.errors import StudyError
from tune_app.models import ImageClassifier, build_model, model_notes
from tune_app.training import parameter_groups
from tune_app.user_code import user_traceback

NETS = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, channels, classes, resolution, dim: int = 6, fault: str = ""):
        super().__init__()
        if fault == "constructor":
            raise ValueError("this constructor fails")
        self.fault, self.calls = fault, 0
        self.conv = nn.Conv2d(channels, dim, 3, padding=1)
        self.bn = nn.BatchNorm2d(dim)
        self.middle = nn.Linear(dim * resolution**2, dim)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(dim, classes + (fault == "width"))
        self.register_buffer("angles", torch.arange(dim) / dim, persistent=False)

    def forward(self, x):
        self.calls += 1
        if self.fault == "forward":
            raise RuntimeError("this forward fails")
        x = self.bn(self.conv(x)).relu()
        x = self.middle(x.view(len(x), -1)).relu() + self.angles
        x = self.fc(self.drop(x))
        if self.fault == "dtype":
            return x.argmax(1, keepdim=True).expand(x.shape)
        if self.fault == "train" and self.training:
            return x, x
        return (x,) if self.fault == "tuple" else x


class Scaled(Small):
    def __init__(self, *args):
        super().__init__(*args)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return super().forward(x) * self.scale


class ScaledInPlace(Scaled):
    def forward(self, x):
        x = Small.forward(self, x)
        x *= 1
        return x


def convolutional(channels, classes, resolution):
    return nn.Sequential(nn.Conv2d(channels, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def not_a_network(channels, classes, resolution):
    return [channels, classes]


def without_parameters(channels, classes, resolution):
    return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(classes))


def without_resolution(channels, classes):
    return nn.Identity()
"""


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("own_models")
    (root / "own_models_pkg").mkdir()
    (root / "own_models_pkg" / "nets.py").write_text(NETS, encoding="utf-8")
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    yield root
    sys.path.remove(str(root))


def own(name: str, **args: Any) -> ModelConfig:
    return ModelConfig(family=f"own_models_pkg.nets:{name}", args=args)


def build(config: ModelConfig, channels: int = 3, classes: int = 5, resolution: int = 8) -> ImageClassifier:
    torch.manual_seed(0)
    return build_model(config, channels, classes, resolution)


def images(n: int = 4, channels: int = 3, resolution: int = 8) -> torch.Tensor:
    return torch.randn(n, channels, resolution, resolution, generator=torch.Generator().manual_seed(1))


def network_of(model: ImageClassifier) -> Any:
    return model.features.get_submodule("network")


def test_weights_are_those_of_the_constructor_and_the_check_consumes_no_draw() -> None:
    model = build(own("Small", dim=7))
    after = torch.rand(3)
    torch.manual_seed(0)
    alone = type(network_of(model))(3, 5, 8, dim=7)
    assert torch.equal(after, torch.rand(3))
    assert alone.fc.in_features == 7
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), alone.state_dict().values(), strict=True))
    assert model.training
    assert network_of(model).bn.num_batches_tracked == 0


def test_features_are_the_input_of_the_last_linear_layer_and_the_network_runs_once() -> None:
    model = build(own("Small")).eval()
    network = network_of(model)
    seen: list[torch.Tensor] = []
    network.drop.register_forward_hook(lambda module, given, output: seen.append(output))
    network.calls = 0
    with torch.inference_mode():
        features = model.features(images())
        logits = model.head(features)
    assert network.calls == 1
    assert torch.equal(features, seen[0])
    assert features.shape == (4, 6)
    with torch.inference_mode():
        assert torch.equal(logits, model(images()))
        assert torch.equal(logits, network(images()))


@pytest.mark.parametrize("name", ["convolutional", "Scaled", "ScaledInPlace"])
def test_features_are_the_logits_where_no_linear_layer_gives_them(name: str) -> None:
    model = build(own(name)).eval()
    with torch.no_grad():
        features = model.features(images())
        assert torch.equal(features, network_of(model)(images()))
        assert torch.equal(model.head(features), features)


def test_training_calls_the_network_itself() -> None:
    model = build(own("Small"))
    alone = copy.deepcopy(network_of(model))
    torch.manual_seed(3)
    model(images()).sum().backward()
    torch.manual_seed(3)
    alone(images()).sum().backward()
    for (name, parameter), other in zip(model.named_parameters(), alone.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad), name  # type: ignore[arg-type]


def test_a_copy_shares_nothing_with_the_original() -> None:
    model = build(own("Small")).eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        before = model(images())
        for parameter in other.parameters():
            parameter.zero_()
        assert torch.equal(other.head(other.features(images())), torch.zeros(4, 5))
        assert torch.equal(model(images()), before)
        assert torch.equal(model.head(model.features(images())), before)


@pytest.mark.parametrize("assign", [False, True])
def test_the_state_goes_to_a_new_network_and_holds_every_tensor_once(assign: bool) -> None:
    model = build(own("Small")).eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert len(state) == len(network_of(model).state_dict())
    torch.manual_seed(9)
    other = build_model(own("Small"), 3, 5, 8).eval()
    other.load_state_dict(state, assign=assign)
    with torch.no_grad():
        assert torch.equal(other.head(other.features(images())), model(images()))


def test_a_network_without_allocation_has_its_own_buffers_and_consumes_no_draw() -> None:
    torch.manual_seed(5)
    with torch.device("meta"):
        model = build_model(own("Small"), 3, 5, 8)
    assert torch.equal(network_of(model).angles, torch.arange(6) / 6)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_code_that_views_runs_on_images_and_weights_in_channels_last() -> None:
    model = build(own("Small"))
    expected = copy.deepcopy(model).eval()(images())
    moved = model.to(torch.device("cpu"), memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    logits = moved(images().contiguous(memory_format=torch.channels_last))
    assert torch.equal(logits, expected)
    library = build(ModelConfig(family="torchvision:resnet18"), resolution=32)
    library.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert network_of(library).conv1.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("policy", ["all", "no_bias_or_norm", "by_name", "three_groups"])
def test_every_parameter_is_in_one_weight_decay_group(policy: Any) -> None:
    model = build(own("Small"))
    groups = parameter_groups(model, OptimizerConfig(), WeightDecayConfig(policy=policy))
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network_of(model).parameters())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (own("not_a_network"), r"nets:not_a_network` returned a list, but must return a torch\.nn\.Module"),
        (own("Small", fault="width"), r"returned a tensor of shape \(2, 6\) and type float32 .* of shape \(2, 5\)"),
        (own("Small", fault="dtype"), r"returned a tensor of shape \(2, 5\) and type int64 .* floating-point"),
        (own("Small", fault="tuple"), r"returned a tuple for 2 images of 3 x 8 x 8, but must return logits"),
        (own("without_parameters"), r"without_parameters` has no parameters to train"),
        (own("without_resolution"), r"is called as \(channels, classes, resolution\), .* too many positional"),
        (own("Small", dom=3), r"is called as \(channels, classes, resolution, dom=3\), .* unexpected keyword"),
        (own("Smal"), r"own_models_pkg\.nets has no 'Smal'"),
    ],
)
def test_what_is_no_classifier_is_refused(config: ModelConfig, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        build(config)


def test_a_network_that_returns_more_in_training_is_refused_there() -> None:
    model = build(own("Small", fault="train"))
    with pytest.raises(StudyError, match="returned a tuple in training"):
        model(images())


@pytest.mark.parametrize(("fault", "error"), [("constructor", ValueError), ("forward", RuntimeError)])
def test_an_exception_of_the_users_code_propagates(package: Path, fault: str, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        build(own("Small", fault=fault))
    first = user_traceback(raised.value, [str(package)]).splitlines()[0]
    assert first.startswith("own_models_pkg/nets.py, line ")
    assert first.endswith(f"{error.__name__}: this {fault} fails")


def test_there_are_no_notes_on_references_and_nothing_is_imported() -> None:
    assert model_notes(ModelConfig(family="no_such_package.nets:Net")) == []
    assert "no_such_package" not in sys.modules


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "test_convnext"])
def test_a_timm_network_is_the_one_that_timm_creates(name: str) -> None:
    model = build(ModelConfig(family=f"timm:{name}"), 1, 7, 32)
    torch.manual_seed(0)
    size = {"img_size": 32} if "vit" in name else {}
    alone = timm.create_model(name, in_chans=1, num_classes=7, **size)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), alone.state_dict().values(), strict=True))
    model.eval()
    with torch.no_grad():
        features = model.features(images(2, 1, 32))
        assert features.shape == (2, alone.num_features)
        assert torch.equal(model.head(features), alone.eval()(images(2, 1, 32)))


def test_weights_of_a_timm_network_come_from_a_local_file(tmp_path: Path) -> None:
    torch.manual_seed(4)
    saved = timm.create_model("test_resnet", in_chans=3, num_classes=5)
    torch.save(saved.state_dict(), tmp_path / "weights.pth")
    path = str(tmp_path / "weights.pth")
    model = build(ModelConfig(family="timm:test_resnet", args={"checkpoint_path": path}), resolution=32)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), saved.state_dict().values(), strict=True))
    with pytest.raises(StudyError, match=r"checkpoint_path` is '.*, but there is no such file"):
        build(ModelConfig(family="timm:test_resnet", args={"checkpoint_path": f"{path}.missing"}))
    with pytest.raises(StudyError, match="must be an absolute path"):
        build(ModelConfig(family="timm:test_resnet", args={"checkpoint_path": "weights.pth"}))


def test_torchvisions_resnet18_has_its_published_count_and_weights() -> None:
    model = build(ModelConfig(family="torchvision:resnet18"), 3, 1000, 64)
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_689_512
    torch.manual_seed(0)
    alone = torchvision.models.resnet18()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), alone.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_a_torchvision_network_sees_gray_images_as_three_equal_channels(name: str) -> None:
    gray = build(ModelConfig(family=f"torchvision:{name}"), 1, 5, 32).eval()
    colour = build(ModelConfig(family=f"torchvision:{name}"), 3, 5, 32).eval()
    x = images(2, 1, 32)
    with torch.no_grad():
        torch.testing.assert_close(gray(x), colour(x.expand(-1, 3, -1, -1)))
    first = next(module for module in gray.modules() if isinstance(module, nn.Conv2d))
    assert (first.in_channels, first.weight.shape[1]) == (1, 1)


@pytest.mark.parametrize(
    ("family", "args", "message"),
    [
        ("timm:resnet18", {"pretrained": True}, r"model\.args\.pretrained` is true, .*checkpoint_path"),
        ("timm:resnet18", {"in_chans": 3}, r"model\.args\.in_chans` is 3, but must be left out: it is set from"),
        ("timm:resnet18", {"widht": 3}, r"`timm:resnet18` with `model\.args` .*TypeError: .*widht"),
        ("timm:resnet18", {"features_only": True}, r"`timm:resnet18` returned a list"),
        ("timm:resnett18", {}, r"'timm:resnett18', but timm has no such image classifier; the nearest are resnet18"),
        ("timm:hf-hub:timm/resnet18", {}, "timm has no such image classifier"),
        (
            "torchvision:resnet18",
            {"weights": "DEFAULT"},
            r"model\.args\.weights` is 'DEFAULT', .* nothing is downloaded",
        ),
        ("torchvision:fcn_resnet50", {}, "torchvision has no such image classifier"),
        ("torchvision:resnet81", {}, "the nearest are resnet18"),
        ("hf:digits", {}, "hf has data sets, not networks; name one of timm:NAME, torchvision:NAME"),
    ],
)
def test_library_networks_that_cannot_be_had_are_explained(family: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        build(ModelConfig(family=family, args=args))


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(StudyError, match=r"`timm:resnet18` needs the package timm: pip install 'tune-app\[timm\]'"):
        build(ModelConfig(family="timm:resnet18"))


def test_library_networks_with_auxiliary_outputs_train_without_them() -> None:
    model = build(ModelConfig(family="torchvision:inception_v3", args={"init_weights": False}), 3, 5, 75)
    assert model(images(2, 3, 75)).shape == (2, 5)
