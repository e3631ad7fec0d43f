"""A split's figures, counted on the device: one small update a step, one copy to the host at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class SplitMetrics:
    """The figures of one split: mean cross entropy, and fractions from 0 to 1.

    ``confusion`` holds the counts row by row, true class by predicted class, where it was asked for.
    """

    loss: float
    accuracy: float
    f1_micro: float
    f1_macro: float
    confusion: tuple[int, ...] | None = None


class Tally:
    """The sums that a split's figures need, kept on the device and never read before ``result``."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self._num_classes = num_classes
        self._confusion = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=device)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._images = 0

    def add(self, logits: Tensor, y: Tensor, loss: Tensor) -> None:
        """Count a batch: logits (N, classes), labels (N,), and the batch's mean loss."""
        cells = y * self._num_classes + logits.detach().argmax(1)
        # index_add_, because bincount on CUDA waits for the device to learn its own length.
        self._confusion.index_add_(0, cells, torch.ones_like(cells))
        self._loss_sum += loss.detach() * len(y)
        self._images += len(y)

    def result(self, with_confusion: bool = False) -> SplitMetrics:
        """Return the figures so far; this waits for the device."""
        shape = (self._num_classes, self._num_classes)
        confusion = self._confusion.cpu().numpy().reshape(shape)
        accuracy = float(np.trace(confusion) / self._images)
        return SplitMetrics(
            loss=float(self._loss_sum) / self._images,
            accuracy=accuracy,
            f1_micro=accuracy,
            f1_macro=f1_macro(confusion),
            confusion=tuple(confusion.ravel().tolist()) if with_confusion else None,
        )


def f1_macro(confusion: NDArray[np.int64]) -> float:
    """Return the mean over classes of F1 = 2 TP / (2 TP + FP + FN), from counts of true x predicted class.

    A class neither present nor predicted is left out, one never met correctly counts 0: scikit-learn's
    ``f1_score(average="macro", zero_division=0)``. Micro F1 needs no function: with one label an image every error is
    one false positive and one false negative, so it equals accuracy.
    """
    pairs = confusion.sum(0) + confusion.sum(1)
    met = pairs > 0
    return float(np.mean(2 * np.diag(confusion)[met] / pairs[met]))
