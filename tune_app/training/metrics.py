"""A split's figures: each step keeps a few numbers per image on the device, which are counted at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
    """What a split's figures need, kept on the device and never read before ``result``.

    Counts are made at the end, on the host: adding to a histogram on CUDA is either not deterministic or a sort.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self._num_classes = num_classes
        self._cells: list[Tensor] = []
        self._ranks: list[Tensor] = []
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._images = 0

    def add(self, logits: Tensor, y: Tensor, loss: Tensor) -> None:
        """Note a batch: logits (N, classes), labels (N,), and the batch's mean loss."""
        scores = logits.detach()
        self._cells.append(y * self._num_classes + scores.argmax(1))
        self._ranks.append((scores > scores.gather(1, y[:, None])).sum(1))
        self._loss_sum += loss.detach() * len(y)
        self._images += len(y)

    def result(self, with_confusion: bool = False) -> SplitMetrics:
        """Return the figures so far; this waits for the device."""
        classes = self._num_classes
        confusion = _histogram(self._cells, classes * classes).reshape(classes, classes)
        counts = Counts(confusion, _histogram(self._ranks, classes), float(self._loss_sum), self._images)
        return SplitMetrics(
            values={name: quantity.compute(counts) for name, quantity in IMAGE_QUANTITIES.items()},
            confusion=tuple(confusion.ravel().tolist()) if with_confusion else None,
        )


def _histogram(batches: list[Tensor], size: int) -> NDArray[np.int64]:
    """Return how often each of 0 to ``size`` - 1 occurs in the batches."""
    values = torch.cat(batches).cpu().numpy() if batches else np.zeros(0, np.int64)
    return np.bincount(values, minlength=size)
