"""Measure the speed of the hand-written norms: forward and backward against torch.nn's, on activations of a ResNet.

torch.nn has no batch-instance norm; its counterpart here is a mixture of torch.nn's batch and instance norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter

import torch
from torch import Tensor, nn

from bench.training import CPU, interleaved, median_ratio, wait_for
from search_spaces.config.sections import Norm
from search_spaces.config.trial import ModelConfig
from tune_app.models.norms import NORMS
from tune_app.training import keep_freed_memory

SHAPE = (128, 16, 32, 32)
STEPS = 10


class TorchBatchInstanceNorm(nn.Module):
    """The mixture of batch and instance norm out of torch.nn's layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batch = nn.BatchNorm2d(channels, affine=False)
        self.instance = nn.InstanceNorm2d(channels)
        self.gate = nn.Parameter(torch.ones(channels, 1, 1))
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        mixed: Tensor = self.gate * self.batch(x_NCHW) + (1 - self.gate) * self.instance(x_NCHW)
        return (self.weight * mixed + self.bias).to(x_NCHW.dtype)


TORCH_NORMS: Mapping[Norm, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "batch_instance": TorchBatchInstanceNorm,
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "group": lambda channels: nn.GroupNorm(ModelConfig().norm_groups, channels),
}


def measure(repeats: int = 7) -> dict[str, float]:
    """Return our seconds over torch.nn's for a forward and a backward pass of each norm, in both precisions."""
    keep_freed_memory()
    figures = {}
    for dtype in (torch.float32, torch.bfloat16):
        for name, theirs in TORCH_NORMS.items():
            channels = SHAPE[1]
            seconds = interleaved(
                {
                    "ours": passes(NORMS[name](ModelConfig(norm=name), channels), dtype),
                    "theirs": passes(theirs(channels), dtype),
                },
                repeats,
            )
            key = f"norms.{name}_over_torch.{str(dtype).removeprefix('torch.')}"
            figures[key] = median_ratio(seconds["ours"], seconds["theirs"])
    return figures


def as_kernel_takes_it(norm: nn.Module, dtype: torch.dtype, device: str) -> nn.Module:
    """Return a norm with parameters of the images' dtype where the kernel refuses float32 for bfloat16 images.

    That is `nn.GroupNorm` on CUDA; the CPU takes both, as the other norms do everywhere. Autocast would not do: it
    makes float32 of the images, so that twice the bytes are moved.
    """
    return norm.to(dtype) if device == "cuda" and isinstance(norm, nn.GroupNorm) else norm


def passes(
    norm: nn.Module, dtype: torch.dtype, device: torch.device = CPU, shape: tuple[int, ...] = SHAPE
) -> Callable[[], float]:
    """Return a function that runs forward and backward passes in training mode and returns the seconds of one."""
    norm = as_kernel_takes_it(norm.to(device), dtype, device.type)
    images = torch.randn(shape).to(device, dtype, memory_format=torch.channels_last)
    gradient = torch.randn(shape).to(device, dtype, memory_format=torch.channels_last)
    images.requires_grad_()

    def round_() -> float:
        began = perf_counter()
        for _ in range(STEPS):
            norm(images).backward(gradient)
            images.grad = None
        wait_for(device)
        return (perf_counter() - began) / STEPS

    return round_
