"""A split's figures, counted on the device: one small update a step, one copy to the host at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from search_spaces.metrics import IMAGE_QUANTITIES, Counts


@dataclass(frozen=True)
class SplitMetrics:
    """The figures of one split, by the names of `IMAGE_QUANTITIES`; also as attributes: ``metrics.accuracy``.

    ``confusion`` holds the counts row by row, true class by predicted class, where it was asked for.
    """

    values: Mapping[str, float]
    confusion: tuple[int, ...] | None = None

    def __getattr__(self, name: str) -> float:
        if name.startswith("__") or name not in self.__dict__.get("values", ()):
            raise AttributeError(name)
        return float(self.values[name])

    def columns(self, split: str) -> dict[str, float]:
        """Return the figures by their columns in the results store: "val_loss"."""
        return {f"{split}_{name}": value for name, value in self.values.items()}

    def to_plain(self) -> dict[str, Any]:
        """Return everything as a dict, a tuple and numbers."""
        return {"values": dict(self.values), "confusion": self.confusion}


class Tally:
    """The sums that a split's figures need, kept on the device and never read before ``result``."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self._num_classes = num_classes
        self._confusion = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=device)
        self._ranks = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._images = 0

    def add(self, logits: Tensor, y: Tensor, loss: Tensor) -> None:
        """Count a batch: logits (N, classes), labels (N,), and the batch's mean loss."""
        scores = logits.detach()
        cells = y * self._num_classes + scores.argmax(1)
        ones = torch.ones_like(cells)
        # index_add_, because bincount on CUDA waits for the device to learn its own length.
        self._confusion.index_add_(0, cells, ones)
        self._ranks.index_add_(0, (scores > scores.gather(1, y[:, None])).sum(1), ones)
        self._loss_sum += loss.detach() * len(y)
        self._images += len(y)

    def result(self, with_confusion: bool = False) -> SplitMetrics:
        """Return the figures so far; this waits for the device."""
        shape = (self._num_classes, self._num_classes)
        confusion = self._confusion.cpu().numpy().reshape(shape)
        counts = Counts(confusion, self._ranks.cpu().numpy(), float(self._loss_sum), self._images)
        return SplitMetrics(
            values={name: quantity.compute(counts) for name, quantity in IMAGE_QUANTITIES.items()},
            confusion=tuple(confusion.ravel().tolist()) if with_confusion else None,
        )
