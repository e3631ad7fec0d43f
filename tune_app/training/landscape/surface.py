"""The loss and the accuracy on the plane of two directions through a trained model's weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tune_app.training.landscape.directions import Directions

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Point:
    """Mean cross entropy (nats) and accuracy at ``x`` steps along the first and ``y`` along the second direction."""

    x: float
    y: float
    loss: float
    accuracy: float


class Surface:
    """Evaluates a model on a plane through its weights at construction.

    In eval mode, with unchanged running statistics of the norm layers, in the precision of the weights. The weights of
    the model are changed in place; ``restore`` restores them.
    """

    def __init__(self, model: nn.Module, directions: Directions, batches: Sequence[Batch]) -> None:
        """Set the model, the plane and the batches of normalised images that every point is evaluated on."""
        self._model = model.eval()
        self._batches = batches
        parameters = dict(model.named_parameters())
        moved = list(directions[0])
        self._weights = [parameters[name].detach() for name in moved]
        self._center = [weight.clone() for weight in self._weights]
        self._first, self._second = ([direction[name] for name in moved] for direction in directions)

    def points(self, xs: Iterable[float], y: float) -> list[Point]:
        """Return the points of one row of a grid. The value of a point does not depend on the points before it."""
        with torch.inference_mode():
            row = torch._foreach_add(self._center, self._second, alpha=y)
            try:
                return [self._point(row, x, y) for x in xs]
            finally:
                self.restore()

    def restore(self) -> None:
        """Restore the trained weights."""
        with torch.inference_mode():
            torch._foreach_copy_(self._weights, self._center)

    def _point(self, row: tuple[Tensor, ...], x: float, y: float) -> Point:
        torch._foreach_copy_(self._weights, row)
        torch._foreach_add_(self._weights, self._first, alpha=x)
        images = sum(len(labels) for _, labels in self._batches)
        sums = [_sums(self._model(x_NCHW), y_N) for x_NCHW, y_N in self._batches]
        loss, correct = (torch.stack(sums).sum(0) / images).tolist()
        return Point(x, y, loss, correct)


def _sums(logits_NK: Tensor, y_N: Tensor) -> Tensor:
    """Return the sum of the cross entropies and the number of correct predictions, float64 (2,), without waiting."""
    losses = F.cross_entropy(logits_NK, y_N, reduction="none").double().sum()
    return torch.stack([losses, (logits_NK.argmax(1) == y_N).sum().double()])
