"""What every family must do with every norm."""

from __future__ import annotations

import io
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.config.trial import Family, ModelConfig, Norm
from tune_app.models import build_model

pytestmark = pytest.mark.slow

FAMILIES, NORM_NAMES = get_args(Family), get_args(Norm)
SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"depth": 8, "width": 8},
    "plain": {"depth": 8, "width": 8},
    "cnn": {"width": 8},
    "resnet18": {"width": 8, "blocks": (1, 1)},
    "resnet50": {"width": 8, "blocks": (1, 1)},
    "resnext": {"width": 8, "blocks": (1, 1), "groups": 4},
    "densenet": {"width": 8, "blocks": (2, 2), "growth_rate": 8},
}
every_family = pytest.mark.parametrize("family", FAMILIES)
every_norm = pytest.mark.parametrize("norm", NORM_NAMES)
MEAN_SUBTRACTING = ["batch", "torch_batch", "instance", "batch_instance"]
USES_BATCH = {"batch", "torch_batch", "batch_instance"}


def build(family: str, norm: str = "batch", resolution: int = 16, channels: int = 3, **fields: Any) -> nn.Module:
    torch.manual_seed(0)
    config = ModelConfig(family=family, norm=norm, norm_groups=4, **SMALL[family] | fields)
    return build_model(config, channels, 10, resolution)


def images(size: int = 16, batch: int = 4, channels: int = 3) -> Tensor:
    x = torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


@every_norm
@every_family
def test_features_and_head_make_the_logits_at_every_resolution(family: str, norm: str) -> None:
    for resolution, channels in ((8, 1), (28, 1), (32, 3), (64, 3)):
        model = build(family, norm, resolution, channels).eval()
        x = images(resolution, 2, channels)
        with torch.no_grad():
            features = model.features(x)
            assert features.dim() == 2
            assert model(x).shape == (2, 10)
            assert torch.equal(model(x), model.head(features))


@pytest.mark.parametrize("stem", ["small", "large"])
@every_family
def test_images_of_224_pass(family: str, stem: str) -> None:
    with torch.no_grad():
        assert build(family, resolution=224, stem=stem)(images(224, 2)).shape == (2, 10)


@pytest.mark.parametrize("placement", ["conv_norm_relu", "conv_relu_norm"])
@every_norm
@every_family
def test_gradients_reach_every_parameter(family: str, norm: str, placement: str) -> None:
    model = build(family, norm, norm_placement=placement)
    F.cross_entropy(model(images()), torch.arange(4)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("norm", MEAN_SUBTRACTING)
@every_family
def test_a_convolution_bias_before_a_norm_has_no_gradient(family: str, norm: str) -> None:
    model = build(family, norm, conv_bias=True, shortcut="projection").double()
    F.cross_entropy(model(images().double()), torch.arange(4)).backward()
    biases = [m.bias.grad for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(biases) >= 4
    assert max(grad.abs().max().item() for grad in biases) < 1e-13


@every_family
def test_a_convolution_bias_counts_where_nothing_subtracts_it(family: str) -> None:
    for fields in ({"norm": "none"}, {"norm": "layer"}, {"norm": "batch", "norm_placement": "conv_relu_norm"}):
        model = build(family, conv_bias=True, **fields).double()
        F.cross_entropy(model(images().double()), torch.arange(4)).backward()
        convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        assert max(conv.bias.grad.abs().max() for conv in convs) > 1e-6


@every_norm
@every_family
def test_channels_last_and_contiguous_agree(family: str, norm: str) -> None:
    model, x = build(family, norm).eval(), images()
    with torch.no_grad():
        plain = model(x.contiguous())
        last = model.to(memory_format=torch.channels_last)(x)
    torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)


@every_norm
@every_family
def test_bfloat16_autocast_trains_with_finite_gradients(family: str, norm: str) -> None:
    model = build(family, norm).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images())
    assert logits.dtype == torch.bfloat16
    F.cross_entropy(logits.float(), torch.arange(4)).backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in model.parameters())


@every_norm
@every_family
def test_a_saved_model_loads_bit_for_bit(family: str, norm: str) -> None:
    model = build(family, norm)
    model(images())
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)
    config = ModelConfig(family=family, norm=norm, norm_groups=4, **SMALL[family])
    other = build_model(config, 3, 10, 16)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert torch.equal(model.eval()(images()), other.eval()(images()))


@every_norm
@every_family
def test_one_seed_draws_one_model(family: str, norm: str) -> None:
    first, second = build(family, norm), build(family, norm)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    torch.manual_seed(5)
    a = first(images())
    torch.manual_seed(5)
    assert torch.equal(a, second(images()))


@every_norm
@every_family
def test_training_uses_the_batch_and_evaluation_the_running_statistics(family: str, norm: str) -> None:
    model, x = build(family, norm, dropout=0.0), images()
    with torch.no_grad():
        in_training = model(x)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        in_evaluation = model.eval()(x)
        one_by_one = torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(one_by_one, in_evaluation, rtol=1e-4, atol=1e-5)
    assert torch.allclose(in_training, in_evaluation, atol=1e-4) != (norm in USES_BATCH)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_dropout_acts_in_training_only() -> None:
    model = build("cnn", "layer", dropout=0.5)
    x = images()
    with torch.no_grad():
        assert not torch.equal(model(x), model(x))
        assert torch.equal(model.eval()(x), model(x))
