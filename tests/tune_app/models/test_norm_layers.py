"""Each hand-written norm against torch.nn, in float64 unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.config.trial import ModelConfig, Norm
from search_spaces.errors import StudyError
from tune_app.models import NORM_TYPES, NORMS, planes, project_parameters
from tune_app.models.norms import BatchInstanceNorm, BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from tune_app.models.planes import set_moments

HAND = ["batch", "instance", "batch_instance", "layer", "group"]
C = 8


def make(norm: str, channels: int = C, groups: int = 4) -> nn.Module:
    layer = NORMS[norm](ModelConfig(norm=norm, norm_groups=groups), channels).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.1)
        if norm == "batch_instance":
            layer.gate.copy_(torch.linspace(0, 1, channels))
    return layer


def images(*shape: int, offset: float = 1.5) -> Tensor:
    x = torch.randn(*shape, dtype=torch.float64) * 2 + offset + torch.arange(shape[1])[:, None, None]
    return x.contiguous(memory_format=torch.channels_last)


def reference(norm: str, layer: nn.Module) -> Callable[[Tensor, Tensor | None, Tensor | None], Tensor]:
    """The same function from torch.nn.functional; running statistics are arguments, moved in training."""
    weight, bias = layer.weight, layer.bias
    affine = weight[:, None, None], bias[:, None, None]
    functions = {
        "batch": lambda x, m, v: F.batch_norm(x, m, v, weight, bias, layer.training),
        "instance": lambda x, m, v: F.instance_norm(x, weight=weight, bias=bias),
        "layer": lambda x, m, v: F.layer_norm(x, x.shape[1:]) * affine[0] + affine[1],
        "group": lambda x, m, v: F.group_norm(x, layer.groups, weight, bias),
        "batch_instance": lambda x, m, v: (
            affine[0]
            * (
                layer.gate[:, None, None] * F.batch_norm(x, m, v, training=layer.training)
                + (1 - layer.gate[:, None, None]) * F.instance_norm(x)
            )
            + affine[1]
        ),
    }
    return functions[norm]


def statistics() -> tuple[Tensor, Tensor]:
    return torch.linspace(-1, 1, C, dtype=torch.float64), torch.linspace(0.5, 3, C, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_every_norm_of_the_config_has_one_entry() -> None:
    assert set(NORMS) == set(get_args(Norm))
    made = {name: type(NORMS[name](ModelConfig(), 8)) for name in NORMS}
    assert made == {
        "none": nn.Identity,
        "batch": BatchNorm,
        "torch_batch": nn.BatchNorm2d,
        "instance": InstanceNorm,
        "batch_instance": BatchInstanceNorm,
        "layer": LayerNorm,
        "group": GroupNorm,
    }


@pytest.mark.parametrize("norm", [n for n in NORMS if n != "none"])
def test_norm_types_cover_every_norm(norm: str) -> None:
    assert isinstance(NORMS[norm](ModelConfig(), 8), NORM_TYPES)


@pytest.mark.parametrize("shape", [(6, C, 5, 3), (1, C, 4, 4), (5, C, 1, 2)], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("norm", HAND)
def test_output_gradients_and_running_statistics_equal_torch(norm: str, training: bool, shape: tuple[int, ...]) -> None:
    layer = make(norm).train(training)
    mean, variance = statistics()
    if hasattr(layer, "running_mean"):
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
    x = images(*shape).requires_grad_()
    upstream = torch.randn_like(x)
    inputs = [x, *layer.parameters()]
    # contiguous: torch 2.14's instance_norm has wrong gradients for a batch of one in channels-last
    expected = reference(norm, layer)(x.contiguous(), mean, variance)
    got = layer(x)
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(
        torch.autograd.grad(got, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream.contiguous()),
        rtol=1e-9,
        atol=1e-9,
    )
    if hasattr(layer, "running_mean"):
        torch.testing.assert_close((layer.running_mean, layer.running_var), (mean, variance), rtol=1e-12, atol=1e-12)


def test_batch_norm_keeps_the_unbiased_variance_and_normalises_with_the_biased_one() -> None:
    layer, x = make("batch", 1), torch.tensor([1.0, 5.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    layer.weight.data.fill_(1)
    layer.bias.data.zero_()
    out = layer(x)
    assert layer.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 8)  # unbiased: (2^2 + 2^2) / 1
    assert layer.running_mean.item() == pytest.approx(0.1 * 3)
    assert out.flatten().tolist() == pytest.approx([-2 / (4 + 1e-5) ** 0.5, 2 / (4 + 1e-5) ** 0.5])


@pytest.mark.parametrize("norm", HAND)
def test_float32_is_as_precise_as_torch_where_the_mean_is_large(norm: str) -> None:
    layer, x = make(norm), images(16, C, 8, 8, offset=200.0)
    exact = layer(x)
    plain = reference(norm, layer.float())(x.float(), *(s.float() for s in statistics()))
    error = (layer(x.float()) - exact).abs().max()
    assert error <= 3 * (plain - exact).abs().max() + 1e-6


@pytest.mark.parametrize("norm", HAND)
def test_gradients_can_be_differentiated_again(norm: str) -> None:
    layer = make(norm, 4, groups=2)
    x = images(3, 4, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))


@pytest.mark.parametrize("norm", [*HAND, "torch_batch"])
def test_bfloat16_images_stay_bfloat16_with_statistics_in_float32(norm: str) -> None:
    layer = make(norm).float()
    x = images(4, C, 6, 6, offset=30.0).to(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    out.float().square().sum().backward()
    assert out.dtype == x.grad.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert all(p.grad.dtype == torch.float32 for p in layer.parameters())
    torch.testing.assert_close(out.double(), layer.double()(x.detach().double()), rtol=2**-7, atol=2**-7)


def test_batch_norm_of_a_single_value_is_refused_in_training_as_torch_refuses_it() -> None:
    x = torch.randn(1, 3, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(3)(x)
    with pytest.raises(StudyError, match="batch norm was given a single value"):
        BatchNorm(3)(x)
    torch.testing.assert_close(BatchNorm(3).eval()(x), nn.BatchNorm2d(3).eval()(x))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("layer", [InstanceNorm(3), BatchInstanceNorm(3)], ids=["instance", "batch_instance"])
def test_instance_norm_of_single_positions_is_refused_as_torch_refuses_it(layer: nn.Module, training: bool) -> None:
    x = torch.randn(4, 3, 1, 1)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        nn.InstanceNorm2d(3).train(training)(x)
    with pytest.raises(StudyError, match="instance norm was given a single value"):
        layer.train(training)(x)


def test_layer_and_group_norm_of_single_positions_do_what_torch_does() -> None:
    x = torch.randn(2, 4, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(LayerNorm(4).double()(x), F.layer_norm(x, (4, 1, 1)))
    torch.testing.assert_close(GroupNorm(4, 4).double()(x), F.group_norm(x, 4))
    torch.testing.assert_close(GroupNorm(4, 2).double()(x[:1]), F.group_norm(x[:1], 2))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        F.group_norm(x[:1], 4)
    with pytest.raises(StudyError, match="group norm was given a single value"):
        GroupNorm(4, 4).double()(x[:1])


def test_group_norm_equals_layer_norm_with_one_group_and_instance_norm_with_one_channel() -> None:
    x = torch.randn(3, 8, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(GroupNorm(8, 1).double()(x), LayerNorm(8).double()(x))
    torch.testing.assert_close(GroupNorm(8, 8).double()(x), InstanceNorm(8).double()(x))


@pytest.mark.parametrize("norm", ["layer", "group", "instance"])
def test_norms_of_one_instance_do_not_depend_on_the_batch_or_the_scale(norm: str) -> None:
    layer, x = make(norm), images(5, C, 4, 4) * 1000
    torch.testing.assert_close(layer(x)[2:3], layer(x[2:3]))
    torch.testing.assert_close(layer(7 * x), layer(x), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(layer.eval()(x), layer.train()(x))


def test_batch_instance_norm_starts_as_batch_norm_and_reaches_instance_norm() -> None:
    x = images(4, C, 3, 3)
    layer = BatchInstanceNorm(C).double()
    torch.testing.assert_close(layer(x), BatchNorm(C).double()(x))
    layer.gate.data.zero_()
    torch.testing.assert_close(layer(x), InstanceNorm(C).double()(x))


def test_gates_are_marked_for_the_trainer_and_clipped_by_the_projection() -> None:
    layer = BatchInstanceNorm(3)
    assert layer.gate.tolist() == [1, 1, 1]
    assert (getattr(layer.gate, "lr_scale", 1.0), getattr(layer.gate, "no_decay", False)) == (10.0, True)
    layer.gate.data = torch.tensor([-0.5, 0.25, 1.5])
    model = nn.Sequential(nn.Conv2d(1, 3, 1), layer)
    weight = model[0].weight.detach().clone()
    project_parameters(model)
    assert layer.gate.tolist() == [0, 0.25, 1]
    assert torch.equal(model[0].weight, weight)
    assert torch.equal(layer.weight, torch.ones(3))


@pytest.mark.parametrize("over_batch", [False, True])
def test_moments_of_a_set_are_those_of_the_union_of_its_planes(over_batch: bool) -> None:
    x = torch.randn(5, 2, 3, 7, dtype=torch.float64)  # instances, groups, channels of a group, positions
    mean, variance = set_moments(x.mean(3), x.var(3, unbiased=False), over_batch)
    dims = (0, 2, 3) if over_batch else (2, 3)
    torch.testing.assert_close(mean[..., 0], x.mean(dims) if not over_batch else x.mean(dims)[None])
    expected = x.var(dims, unbiased=False)
    torch.testing.assert_close(variance[..., 0], expected[None] if over_batch else expected)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("norm", HAND)
def test_gradients_of_weights_are_right_to_second_order(norm: str, training: bool) -> None:
    layer = make(norm, 4, groups=2).train(training)
    x = images(2, 4, 2, 2).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def output(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    inputs = (x, *layer.parameters())
    assert torch.autograd.gradcheck(output, inputs)
    assert torch.autograd.gradgradcheck(output, inputs)


@pytest.mark.parametrize("norm", HAND)
def test_results_do_not_depend_on_the_size_of_the_parts(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = make(norm), images(7, C, 3, 3).requires_grad_()
    upstream, found = torch.randn_like(x), []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    for values in (1, 2 * 9 * C, 10**9):
        monkeypatch.setattr(planes, "CACHED", values)
        y = layer(x)
        found.append((y, *torch.autograd.grad(y, (x, *layer.parameters()), upstream)))
    torch.testing.assert_close(found[0], found[2], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], found[2], rtol=1e-12, atol=1e-12)


def test_frozen_weights_and_images_without_gradient_get_none() -> None:
    layer, x = make("group"), images(2, C, 3, 3)
    layer(x).sum().backward()
    assert x.grad is None
    assert layer.weight.grad is not None
    layer.requires_grad_(False)
    layer.zero_grad()
    layer(x.requires_grad_()).square().sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None


@pytest.mark.parametrize(("norm", "shown"), [("batch", "BatchNorm(8)"), ("group", "GroupNorm(8, groups=4)")])
def test_layers_show_their_size(norm: str, shown: str) -> None:
    assert repr(make(norm)) == shown
