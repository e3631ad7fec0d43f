"""The augmentation grid: one image, and the result of each operation of RandAugment on it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from tune_app.data.augmentation.operations import OPERATIONS, strength_at

GRID_OPERATIONS = (
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "Equalize",
)
_UNITS = {
    "ShearX": "{:+.2f} px per row",
    "ShearY": "{:+.2f} px per column",
    "TranslateX": "{:+.0f} px",
    "TranslateY": "{:+.0f} px",
    "Rotate": "{:+.0f}°",
    "Brightness": "{:+.0%}",
    "Color": "{:+.0%}",
    "Contrast": "{:+.0%}",
    "Sharpness": "{:+.0%}",
    "Posterize": "{:.0f} bits",
    "Solarize": "from {:.0f}",
}


SOURCE_STRENGTHS: Mapping[str, float] = {"Rotate": 30.0, "Posterize": 3.0}
"""Strengths that the picture of source A has, where it states them: degrees and bits; 3 bits are beyond M = 30."""


def augmentation_grid(
    image_HWC: np.ndarray, magnitude: int = 20, strengths: Mapping[str, float] | None = None
) -> list[tuple[str, np.ndarray]]:
    """Return the original and twelve augmented images, uint8 (H, W, C), each with its label: "Rotate +20°".

    The operations are those of the RandAugment training policy, at the magnitude M (0 to 30) and with positive sign;
    the label gives the strength in the operation's unit. ``strengths`` replaces that of some operations, such as
    `SOURCE_STRENGTHS`.
    """
    x_1CHW = torch.from_numpy(np.array(image_HWC, dtype=np.uint8)).permute(2, 0, 1)[None]
    height, width = image_HWC.shape[:2]
    images = [("Original", np.array(image_HWC, dtype=np.uint8))]
    for name in GRID_OPERATIONS:
        operation = OPERATIONS[name]
        strength = (strengths or {}).get(name, strength_at(operation, magnitude, height, width))
        if name in ("TranslateX", "TranslateY"):
            strength = int(strength)
        augmented = operation.apply(x_1CHW, strength)[0].permute(1, 2, 0).contiguous().numpy()
        images.append((f"{name} {_UNITS[name].format(strength)}" if name in _UNITS else name, augmented))
    return images
