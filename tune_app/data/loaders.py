"""Loaders: a split as batches of normalised images, prepared on the training device.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from search_spaces.config.trial import TrialConfig
from tune_app.data.arrays import ImageArrays
from tune_app.data.augmentation.policies import Augmentation, build_augmentation
from tune_app.data.normalization import Normalization, measure_normalization
from tune_app.data.resident import resident_images, to_device
from tune_app.data.splits import Splits
from tune_app.draws import keyed_generator


class TrainLoader:
    """The training split: every epoch in a new order and with new augmentation draws.

    Everything that is random in an epoch is drawn on the CPU at its start, from generators keyed by the trial's seed,
    the epoch and the purpose (`tune_app.draws`). So an epoch does not depend on the epochs before it, trainings with
    one seed share order and augmentation whatever else differs, and no step waits for the device. The last batch may be
    smaller.
    """

    normalization: Normalization
    steps_per_epoch: int

    def __init__(
        self,
        arrays: ImageArrays,
        splits: Splits,
        config: TrialConfig,
        device: torch.device,
    ) -> None:
        images = resident_images(arrays.train_images, arrays.train_labels, splits.train, device, config.data.resolution)
        self.normalization = measure_normalization(images.images, images.rows)
        self.steps_per_epoch = -(-len(images) // config.batch_size)
        self._normalize = self.normalization.on(device, images.images.shape[2])
        self._augmentation: Augmentation = build_augmentation(config.augmentation)
        self._images = images
        self._batch_size = config.batch_size
        self._device = device
        self._seed = config.seed

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images, float32 (N, C, H, W) channels last, and labels, int64 (N,): every image once an epoch."""
        n = len(self._images)
        draw = partial(keyed_generator, self._seed, epoch)
        order = to_device(torch.randperm(n, generator=draw("order")), self._device)
        augment = self._augmentation(n, partial(draw, "augmentation"), self._device)
        for start in range(0, n, self._batch_size):
            batch = slice(start, start + self._batch_size)
            x_NHWC, y_N = self._images.take(order[batch])
            yield self._normalize(augment(x_NHWC, batch)), y_N

    def without_augmentation(self, batch_size: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images of the split in their own order, without augmentation, and their labels."""
        for positions in torch.split(torch.arange(len(self._images), device=self._device), batch_size):
            x_NHWC, y_N = self._images.take(positions)
            yield self._normalize(x_NHWC), y_N


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
