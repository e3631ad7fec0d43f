"""The operations of RandAugment (Cubuk et al. 2020, arXiv 1909.13719), one table for training and for figures.

Names, strengths and results are those of torchvision: the space of ``torchvision.transforms.RandAugment``
with 31 magnitudes, nearest-neighbour sampling and black fill. All operations work on uint8 batches (N, C, H, W), on
each image independently. Effect of a positive strength: ShearX moves lower rows to the left, ShearY moves columns
further right upwards; TranslateX moves to the right, TranslateY down; Rotate turns counter-clockwise; Brightness,
Color, Contrast and Sharpness increase.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

MAX_MAGNITUDE = 30
_MOVE = 150 / 331
"""Largest translation, as a share of the side."""


@dataclass(frozen=True)
class Operation:
    """One operation: ``apply(images, strength)``, and its strength as a function of (magnitude from 0 to 1, H, W).

    The strength of a ``signed`` operation is negated with probability one half. ``reads`` says what a value of the
    result depends on: the value of one ``pixel`` at another place, the ``value`` at the same place, or the ``image``.
    """

    strength: Callable[[float, int, int], float]
    apply: Callable[[Tensor, float], Tensor]
    signed: bool = False
    reads: Literal["pixel", "value", "image"] = "image"


def strength_at(operation: Operation, magnitude: int, height: int, width: int) -> float:
    """Return the strength at RandAugment's magnitude M, 0 to 30, in the operation's own unit."""
    return operation.strength(magnitude / MAX_MAGNITUDE, height, width)


def _shear(x_NCHW: Tensor, x: float = 0.0, y: float = 0.0) -> Tensor:
    """Shear about the upper left corner by ``x`` pixels a row and ``y`` pixels a column."""
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    sheared: Tensor = TF.affine(x_NCHW, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, center=[0.0, 0.0])
    return sheared


def _translate(x_NCHW: Tensor, x: float = 0.0, y: float = 0.0) -> Tensor:
    """Move by whole pixels; fractions are truncated."""
    moved: Tensor = TF.affine(x_NCHW, angle=0.0, translate=[int(x), int(y)], scale=1.0, shear=[0.0, 0.0])
    return moved


def _shear_strength(m: float, height: int, width: int) -> float:
    return 0.3 * m


def _factor_strength(m: float, height: int, width: int) -> float:
    return 0.9 * m


def _no_strength(m: float, height: int, width: int) -> float:
    return 0.0


def _sharpness(x_NCHW: Tensor, strength: float) -> Tensor:
    """Sharpen: torchvision's ``adjust_sharpness`` at 1 + ``strength``, without its copy of a constant to the device."""
    channels, height, width = x_NCHW.shape[1:]
    if height <= 2 or width <= 2:
        return x_NCHW
    out = x_NCHW.float()
    kernel = out.new_full((3, 3), 1 / 13)
    kernel[1, 1].fill_(5 / 13)
    smooth = F.conv2d(out, kernel.expand(channels, 1, 3, 3), groups=channels).round_()
    inner = out[..., 1:-1, 1:-1]
    inner.add_(smooth.sub_(inner), alpha=1 - (1 + strength))  # rounded as torchvision does
    return out.clamp_(0, 255).to(torch.uint8)


def _autocontrast(x_NCHW: Tensor) -> Tensor:
    """Stretch each channel to 0 to 255: torchvision's ``autocontrast``, without its indexing by a mask."""
    x_NCHW = x_NCHW.float()
    lowest, highest = x_NCHW.amin((2, 3), keepdim=True), x_NCHW.amax((2, 3), keepdim=True)
    constant = highest == lowest
    scale = (highest - lowest).mul_(1 / 255).masked_fill_(constant, 1.0)  # `where` would copy the 1 to the device
    return x_NCHW.sub_(lowest.masked_fill_(constant, 0.0)).div_(scale).clamp_(0, 255).to(torch.uint8)


def _equalize(x_NCHW: Tensor) -> Tensor:
    """Equalize the histogram of each channel, as PIL and torchvision's ``equalize`` do.

    Torchvision's counts with ``scatter_add_``, which on CUDA is deterministic only by way of a copy from the host.
    """
    flat = x_NCHW.flatten(2)
    planes = torch.arange(flat.shape[0] * flat.shape[1], device=flat.device).view(*flat.shape[:2], 1)
    places = (planes * 256 + flat).flatten()
    counts = places.new_zeros(planes.numel() * 256).index_add_(0, places, torch.ones_like(places))
    upto = counts.view(*flat.shape[:2], 256).cumsum(2)  # values of at most each level
    total = flat.shape[2]
    below_highest = upto.masked_fill(upto == total, 0).amax(2, keepdim=True)
    step = below_highest.div(255, rounding_mode="floor")
    table = (upto[..., :-1] + step // 2).div(step.clamp(min=1), rounding_mode="floor").clamp(0, 255)
    equal = F.pad(table, (1, 0)).gather(2, flat.long()).to(torch.uint8)
    return torch.where(step == 0, flat, equal).view_as(x_NCHW)


OPERATIONS: Mapping[str, Operation] = {
    "Identity": Operation(_no_strength, lambda x, _: x, reads="value"),
    "ShearX": Operation(_shear_strength, lambda x, s: _shear(x, x=s), signed=True, reads="pixel"),
    "ShearY": Operation(_shear_strength, lambda x, s: _shear(x, y=s), signed=True, reads="pixel"),
    "TranslateX": Operation(
        lambda m, h, w: 150 / 331 * w * m, lambda x, s: _translate(x, x=s), signed=True, reads="pixel"
    ),
    "TranslateY": Operation(
        lambda m, h, w: 150 / 331 * h * m, lambda x, s: _translate(x, y=s), signed=True, reads="pixel"
    ),
    "Rotate": Operation(lambda m, h, w: 30 * m, lambda x, s: TF.rotate(x, s), signed=True, reads="pixel"),
    "Brightness": Operation(_factor_strength, lambda x, s: TF.adjust_brightness(x, 1 + s), signed=True, reads="value"),
    "Color": Operation(_factor_strength, lambda x, s: TF.adjust_saturation(x, 1 + s), signed=True),
    "Contrast": Operation(_factor_strength, lambda x, s: TF.adjust_contrast(x, 1 + s), signed=True),
    "Sharpness": Operation(_factor_strength, _sharpness, signed=True),
    "Posterize": Operation(lambda m, h, w: 8 - round(4 * m), lambda x, s: TF.posterize(x, int(s)), reads="value"),
    "Solarize": Operation(lambda m, h, w: 255 * (1 - m), lambda x, s: TF.solarize(x, s), reads="value"),
    "AutoContrast": Operation(_no_strength, lambda x, _: _autocontrast(x)),
    "Equalize": Operation(_no_strength, lambda x, _: _equalize(x)),
}
