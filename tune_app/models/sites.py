"""Norm sites of a network: channels and size at every norm layer, and the combinations that they exclude."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from search_spaces.config.trial import ModelConfig
from search_spaces.errors import StudyError
from tune_app.models.layers import ImageClassifier


@dataclass(frozen=True)
class NormSite:
    """A norm layer: its name in the network, its channels, and the number of positions (H x W) of its input."""

    name: str
    channels: int
    positions: int


def norm_sites(network: ImageClassifier, in_channels: int, resolution: int) -> list[NormSite]:
    """Return the sites of a network that was built with ``torch_batch`` norms on the meta device, in forward order.

    Zero images go through it, and its layers with weights return shapes; the network is of no use after that. A forward
    pass on the meta device would import torch's compiler and sympy, which takes longer than many a trial.
    """
    sites: list[NormSite] = []

    def record(name: str, features: Tensor) -> Tensor:
        sites.append(NormSite(name, features.shape[1], features.shape[2] * features.shape[3]))
        return features

    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = partial(record, name)  # type: ignore[method-assign]
        elif isinstance(module, nn.Conv2d):
            module.forward = partial(_convolved, module)  # type: ignore[method-assign]
        elif isinstance(module, nn.Linear):
            module.forward = partial(_projected, module)  # type: ignore[method-assign]
    network.eval()(torch.empty(0, in_channels, resolution, resolution, device="cpu"))
    return sites


def _convolved(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """Return a tensor of the shape that a convolution gives."""
    assert not isinstance(layer.padding, str)
    places = zip(features.shape[2:], layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True)
    sizes = [
        (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for size, kernel, stride, pad, dilation in places
    ]
    return features.new_empty(len(features), layer.out_channels, *sizes)


def _projected(layer: nn.Linear, features: Tensor) -> Tensor:
    """Return a tensor of the shape that a linear layer gives."""
    return features.new_empty(*features.shape[:-1], layer.out_features)


def check_sites(config: ModelConfig, sites: list[NormSite]) -> None:
    """Raise StudyError if the config's norm is not possible at one of the sites."""
    uneven = [site for site in sites if site.channels % config.norm_groups]
    if config.norm == "group" and uneven:
        common = math.gcd(*(site.channels for site in sites))
        fitting = ", ".join(str(n) for n in range(1, common + 1) if common % n == 0)
        raise StudyError(
            f"`model.norm_groups` is {config.norm_groups}, but must divide the channels of every norm layer, and "
            f"{uneven[0].name} has {uneven[0].channels}; possible values: {fitting}"
        )
    single = [site for site in sites if site.positions == 1]
    if config.norm in ("instance", "batch_instance") and single:
        raise StudyError(
            f"`model.norm` is {config.norm}, but images are 1x1 at {single[0].name}, where instance norm is "
            "always zero: use a larger `data.resolution`, fewer stages or another norm"
        )
