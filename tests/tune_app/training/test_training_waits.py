"""No step of an epoch waits for a GPU, shown without one: tensors of a fake CUDA device, which has shapes but no values.

Reading a value of such a tensor raises. Copies between host and device are checked here. The backward pass is left out:
torch's autograd engine asks for a real device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from search_spaces.config.trial import AugmentationPolicy, Family, Norm, OptimizerName, TrialConfig
from tune_app.data import ImageArrays
from tune_app.data.augmentation import randaugment
from tune_app.data.normalization import Normalization
from tune_app.training.epoch import train_steps
from tune_app.training.state import start

pytestmark = pytest.mark.slow

CUDA = torch.device("cuda", 0)


class WaitsForDeviceError(Exception):
    pass


class FakeCuda(TorchDispatchMode):
    """Runs operations on CPU tensors really, all others on fake tensors; raises at a copy that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.may_wait = True
        self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        if not any(
            isinstance(leaf, FakeTensor) or (isinstance(leaf, torch.device) and leaf == CUDA) for leaf in leaves
        ):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        host = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, FakeTensor) and leaf.ndim]
        leaves_device = isinstance(args[0] if args else None, FakeTensor) and kwargs.get("device", CUDA) != CUDA
        if not self.may_wait and ((host and not kwargs.get("non_blocking")) or leaves_device):
            raise WaitsForDeviceError(str(func))
        self.copies += bool(host)
        if func.name().startswith("aten::_fused_"):
            return None  # the fused optimizers work in place; torch has no fake version of them
        with self.fake:
            return func(*args, **kwargs)


@contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    def move(model: nn.Module, device: torch.device, **_: Any) -> nn.Module:
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    moved = nn.Parameter(torch.empty(parameter.shape, device=device))
                    moved.__dict__.update(parameter.__dict__)
                    module._parameters[name] = moved
            for name, buffer in module._buffers.items():
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=device)
        return model

    def backward(loss: Tensor) -> None:
        assert loss.requires_grad

    monkeypatch.setattr(nn.Module, "to", move)
    monkeypatch.setattr(Tensor, "backward", backward)
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr("tune_app.data.loaders.measure_normalization", lambda *_: Normalization((0.5,), (0.3,)))
    monkeypatch.setattr("tune_app.data.memory.gpu_memory", lambda device: 2**40)
    monkeypatch.setattr("tune_app.training.seeding._capture", lambda device: {})
    monkeypatch.setattr("tune_app.training.seeding._restore", lambda state, device: None)
    monkeypatch.setattr(randaugment, "_tables", randaugment._tables.__wrapped__)
    simulation = FakeCuda()
    with simulation.fake, simulation:
        yield simulation


def steps(config: TrialConfig, arrays: ImageArrays, monkeypatch: pytest.MonkeyPatch) -> int:
    """Take the steps of an epoch on the fake device; return the number of copies to it."""
    with fake_cuda(monkeypatch) as simulation:
        training = start(config, arrays, CUDA)
        for parameter in training.model.parameters():
            parameter.grad = torch.empty(parameter.shape, device=CUDA)
        monkeypatch.setattr(training.optimizer, "zero_grad", lambda **_: None)
        before, simulation.may_wait = simulation.copies, False
        sums = train_steps(training, 1, with_norm=True)
        assert sums.gradient_norm.device == CUDA
        with pytest.raises((WaitsForDeviceError, RuntimeError)):
            sums.tally.result()
        return simulation.copies - before


CASES = [
    *({"model__family": family, "model__blocks": (1, 1)} for family in get_args(Family)),
    *({"model__norm": norm, "model__norm_groups": 2} for norm in get_args(Norm)),
    *({"augmentation": {"policy": policy}} for policy in get_args(AugmentationPolicy)),
    *({"optimizer": {"name": name, "clip_norm": 1.0}} for name in get_args(OptimizerName)),
]


@pytest.mark.parametrize("values", CASES, ids=lambda values: "-".join(map(str, values.values())))
def test_no_step_waits_for_the_device(
    arrays: ImageArrays,
    config_with: Callable[..., TrialConfig],
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
) -> None:
    config = config_with(**{"model__width": 8, "model__groups": 2, "batch_size": 45, **values})
    copies = steps(config, arrays, monkeypatch)
    drawn = {"none": 1, "crop_flip": 3, "randaugment": 3 + 2 * (2 + 2)}  # two steps: rounds, tables
    assert copies == drawn[config.augmentation.policy]


def test_a_blocking_copy_and_a_read_value_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_cuda(monkeypatch) as simulation:
        simulation.may_wait = False
        scores = torch.zeros(4, device=CUDA)
        with pytest.raises(WaitsForDeviceError):
            torch.arange(4).to(CUDA)
        with pytest.raises(WaitsForDeviceError):
            scores.cpu()
        with pytest.raises(Exception, match="_local_scalar_dense"):
            scores.sum().item()
        with pytest.raises(Exception, match=r"nonzero|DynamicOutputShape|dynamic"):
            scores[scores > 0]
        assert torch.arange(4).to(CUDA, non_blocking=True).device == CUDA
