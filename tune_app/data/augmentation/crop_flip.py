"""Pad, crop at random, mirror: the usual augmentation of small images (He et al. 2016), one batch at a time.

Padding is black and is added before normalisation, as in torchvision's ``RandomCrop(padding=4)``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def draw_offsets(n: int, padding: int, generator: torch.Generator) -> Tensor:
    """Return the row and the column, int64 (n, 2), where the crop of each image begins in its padded image.

    They are uniform shares of the possible range, so two paddings with one generator move an image in one direction.
    """
    return (torch.rand(n, 2, generator=generator) * (2 * padding + 1)).long()


def draw_flips(n: int, generator: torch.Generator) -> Tensor:
    """Return for each image whether it is mirrored, bool (n,), with probability one half."""
    return torch.randint(2, (n,), generator=generator).bool()


def crop(x_NHWC: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Return crops of the original size, taken at ``offsets`` (N, 2) from the zero-padded images."""
    n, height, width, channels = x_NHWC.shape
    padded = x_NHWC.new_zeros((n, height + 2 * padding, width + 2 * padding, channels))
    padded[:, padding : padding + height, padding : padding + width] = x_NHWC
    windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
    rows, columns = offsets.unbind(1)
    return windows[torch.arange(n, device=x_NHWC.device), rows, columns].contiguous()


def mirror(x_NHWC: Tensor, flips: Tensor) -> Tensor:
    """Return the images, those where ``flips`` (N,) is true with left and right exchanged."""
    return torch.where(flips[:, None, None, None], x_NHWC.flip(2), x_NHWC)
