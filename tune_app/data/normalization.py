"""Normalization: pixels to zero mean and unit variance, channel by channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 4096


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, in units of the full scale: a pixel of 255 is 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def on(self, device: torch.device, width: int) -> Callable[[Tensor], Tensor]:
        """Return the function from uint8 images (N, H, ``width``, C) on ``device`` to (x / 255 - mean) / std.

        Its result is float32 of shape (N, C, H, W), channels last in memory.
        """
        std = torch.tensor(self.std, dtype=torch.float64)
        # One factor per value of a row: the innermost loop then runs over width x channels, not over 3 channels.
        scale = (1 / (255 * std)).float().repeat(width).to(device)
        shift = (-torch.tensor(self.mean, dtype=torch.float64) / std).float().repeat(width).to(device)

        def normalize(x_NHWC: Tensor) -> Tensor:
            rows = x_NHWC.flatten(2).float()
            return rows.mul_(scale).add_(shift).view(x_NHWC.shape).permute(0, 3, 1, 2)

        return normalize


def measure_normalization(x_NHWC: Tensor, rows: Tensor) -> Normalization:
    """Return the mean and the (biased) standard deviation of the channels of the images ``rows`` of ``x_NHWC``.

    The sums are of integers, so the result is the same on every device. A constant channel gets a standard deviation
    of 1, so that only its mean is removed.
    """
    channels = x_NHWC.shape[3]
    histogram = torch.zeros(channels, 256, dtype=torch.int64)
    for part in torch.split(rows, _CHUNK):
        pixels = x_NHWC[part].view(-1, channels)
        histogram += torch.stack([torch.bincount(values, minlength=256).cpu() for values in pixels.unbind(1)])
    levels = torch.arange(256)
    count = histogram.sum(1).double()
    mean = (histogram * levels).sum(1) / count
    std = ((histogram * levels**2).sum(1) / count - mean**2).clamp(min=0).sqrt()
    return Normalization(tuple((mean / 255).tolist()), tuple(torch.where(std > 0, std / 255, 1.0).tolist()))
