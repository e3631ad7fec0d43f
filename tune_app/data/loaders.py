"""Loaders: a split as batches of normalised images, prepared on the training device.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from search_spaces.config.trial import TrialConfig
from tune_app.data.arrays import ImageArrays
from tune_app.data.augmentation.policies import Augmentation, build_augmentation
from tune_app.data.normalization import Normalization, measure_normalization
from tune_app.data.resident import resident_images
from tune_app.data.splits import Splits


class TrainLoader:
    """The training split: every epoch in a new order and with new augmentation draws.

    ``generator``, on the CPU, is the only source of randomness. Everything that is random in an epoch is drawn from it
    at the start of the epoch, so its state between two epochs determines all later batches, and no step of an epoch
    waits for the device. The last batch may be smaller.
    """

    normalization: Normalization
    steps_per_epoch: int

    def __init__(
        self,
        arrays: ImageArrays,
        splits: Splits,
        config: TrialConfig,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        images = resident_images(arrays.train_images, arrays.train_labels, splits.train, device, config.data.resolution)
        self.normalization = measure_normalization(images.images, images.rows)
        self.steps_per_epoch = -(-len(images) // config.batch_size)
        self._normalize = self.normalization.on(device, images.images.shape[2])
        self._augmentation: Augmentation = build_augmentation(config.augmentation)
        self._images = images
        self._batch_size = config.batch_size
        self._device = device
        self._generator = generator

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images, float32 (N, C, H, W) channels last, and labels, int64 (N,): every image once."""
        n = len(self._images)
        order = torch.randperm(n, generator=self._generator).to(self._device)
        augment = self._augmentation(n, self._generator, self._device)
        for start in range(0, n, self._batch_size):
            batch = slice(start, start + self._batch_size)
            x_NHWC, y_N = self._images.take(order[batch])
            yield self._normalize(augment(x_NHWC, batch)), y_N


class EvalLoader:
    """Images in the order of ``indices``, without augmentation, normalised with the training split's statistics."""

    def __init__(
        self,
        arrays: ImageArrays,
        indices: np.ndarray,
        split: Literal["train", "val", "test"],
        config: TrialConfig,
        normalization: Normalization,
        device: torch.device,
        batch_size: int = 500,
    ) -> None:
        images, labels = (
            (arrays.test_images, arrays.test_labels) if split == "test" else (arrays.train_images, arrays.train_labels)
        )
        self._images = resident_images(images, labels, indices, device, config.data.resolution)
        self._normalize = normalization.on(device, self._images.images.shape[2])
        self._positions = torch.split(torch.arange(len(indices), device=device), batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images, float32 (N, C, H, W) channels last, and labels, int64 (N,)."""
        for positions in self._positions:
            x_NHWC, y_N = self._images.take(positions)
            yield self._normalize(x_NHWC), y_N
