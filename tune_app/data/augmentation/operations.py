"""The operations of RandAugment (Cubuk et al. 2020, arXiv 1909.13719), one table for training and for figures.

Names, strengths and implementations are those of torchvision: the space of ``torchvision.transforms.RandAugment``
with 31 magnitudes, nearest-neighbour sampling and black fill. All operations work on uint8 batches (N, C, H, W), on
each image independently. Effect of a positive strength: ShearX moves lower rows to the left, ShearY moves columns
further right upwards; TranslateX moves to the right, TranslateY down; Rotate turns counter-clockwise; Brightness,
Color, Contrast and Sharpness increase.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torchvision.transforms.v2 import functional as TF

MAX_MAGNITUDE = 30


@dataclass(frozen=True)
class Operation:
    """One operation: ``apply(images, strength)``, and its strength as a function of (magnitude from 0 to 1, H, W).

    The strength of a ``signed`` operation is negated with probability one half.
    """

    strength: Callable[[float, int, int], float]
    apply: Callable[[Tensor, float], Tensor]
    signed: bool = False


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


OPERATIONS: Mapping[str, Operation] = {
    "Identity": Operation(_no_strength, lambda x, _: x),
    "ShearX": Operation(_shear_strength, lambda x, s: _shear(x, x=s), signed=True),
    "ShearY": Operation(_shear_strength, lambda x, s: _shear(x, y=s), signed=True),
    "TranslateX": Operation(lambda m, h, w: 150 / 331 * w * m, lambda x, s: _translate(x, x=s), signed=True),
    "TranslateY": Operation(lambda m, h, w: 150 / 331 * h * m, lambda x, s: _translate(x, y=s), signed=True),
    "Rotate": Operation(lambda m, h, w: 30 * m, lambda x, s: TF.rotate(x, s), signed=True),
    "Brightness": Operation(_factor_strength, lambda x, s: TF.adjust_brightness(x, 1 + s), signed=True),
    "Color": Operation(_factor_strength, lambda x, s: TF.adjust_saturation(x, 1 + s), signed=True),
    "Contrast": Operation(_factor_strength, lambda x, s: TF.adjust_contrast(x, 1 + s), signed=True),
    "Sharpness": Operation(_factor_strength, lambda x, s: TF.adjust_sharpness(x, 1 + s), signed=True),
    "Posterize": Operation(lambda m, h, w: 8 - round(4 * m), lambda x, s: TF.posterize(x, int(s))),
    "Solarize": Operation(lambda m, h, w: 255 * (1 - m), lambda x, s: TF.solarize(x, s)),
    "AutoContrast": Operation(_no_strength, lambda x, _: TF.autocontrast(x)),
    "Equalize": Operation(_no_strength, lambda x, _: TF.equalize(x)),
}
