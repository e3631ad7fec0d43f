"""The augmentation grid: one image and what each operation makes of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.plots.picture import Picture
from analysis.plots.style import new_figure

COLUMNS = 5


def draw_augmentations(pictures: Sequence[tuple[str, np.ndarray]], magnitude: int) -> Picture:
    """Draw labelled images, uint8 (H, W, C), the original first, on a grid of five columns."""
    rows = -(-len(pictures) // COLUMNS)
    figure = new_figure(7.0, 1.62 * rows)
    axes = figure.subplots(rows, COLUMNS)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (label, pixels) in zip(axes.flat, pictures, strict=False):
        ax.imshow(pixels.squeeze(), cmap="gray" if pixels.shape[2] == 1 else None, interpolation="nearest")
        ax.set_title(label, fontsize=7, pad=3)
    names = ", ".join(label for label, _ in pictures)
    return Picture(
        figure,
        "Augmentations",
        f"The original and {len(pictures) - 1} operations at RandAugment's M = {magnitude} of 30, signs positive.",
        f"A grid of images: {names}.",
    )
