"""RandAugment (Cubuk et al. 2020, arXiv 1909.13719) on batches: operations drawn per image, applied to all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from tune_app.data.augmentation.operations import OPERATIONS, strength_at
from tune_app.data.resident import to_device

_OPERATIONS = tuple(OPERATIONS.values())


def draw_choices(n: int, rounds: int, draw: Callable[[str, int], torch.Generator]) -> Tensor:
    """Return the operation for each of ``n`` images in each round, int64 (n, rounds), on the CPU.

    The value 2 k + s is the k-th operation of the table, with s = 1 where its strength is negated. All operations are
    equally probable, and so are both signs of a signed operation; s is 0 for the others. ``draw`` returns the generator
    of one round: two numbers of rounds share the rounds that both have.
    """
    values = 2 * len(_OPERATIONS)
    drawn = torch.stack([torch.randint(values, (n,), generator=draw("randaugment", k)) for k in range(rounds)], dim=1)
    unsigned = torch.tensor([not operation.signed for operation in _OPERATIONS])
    return torch.where(unsigned[drawn // 2], drawn // 2 * 2, drawn)


def apply_choices(x_NHWC: Tensor, choices: Tensor, magnitude: int) -> Tensor:
    """Return uint8 images after the rounds listed in ``choices`` (N, rounds; CPU), at the magnitude M, 0 to 30.

    Each round moves and maps the pixels of all images by tables, then treats the images whose operation reads the whole
    image. On a GPU nothing waits.
    """
    tables = _tables(magnitude, *x_NHWC.shape[1:3], x_NHWC.device)
    for column in choices.unbind(1):
        order = torch.argsort(column, stable=True)
        on_device = to_device(torch.stack([column, order]), x_NHWC.device)
        x_NHWC = tables.apply(x_NHWC, on_device[0])
        first = 0
        for choice, count in zip(*(part.tolist() for part in torch.unique(column, return_counts=True)), strict=True):
            if _OPERATIONS[choice // 2].reads == "image":
                rows = on_device[1][first : first + count]
                x_NCHW = x_NHWC.index_select(0, rows).permute(0, 3, 1, 2)
                x_NHWC.index_copy_(0, rows, _apply(x_NCHW, choice, magnitude).permute(0, 2, 3, 1))
            first += count
    return x_NHWC


@dataclass(frozen=True)
class _Tables:
    """For each choice: where each pixel comes from, int64 (choices, H W), and each value's new value, (choices, 256).

    Place H W is a black pixel. A choice whose operation reads the whole image changes nothing here.
    """

    places: Tensor
    values: Tensor

    def apply(self, x_NHWC: Tensor, choices: Tensor) -> Tensor:
        """Return new images, each moved and mapped by its choice (N,)."""
        pixels = F.pad(x_NHWC.flatten(1, 2), (0, 0, 0, 1))
        moved = pixels.gather(1, self.places[choices][..., None].expand(-1, -1, x_NHWC.shape[3]))
        rows = (choices * 256).int()[:, None]
        return self.values.flatten().index_select(0, (moved.flatten(1) + rows).flatten()).view(x_NHWC.shape)


@lru_cache(maxsize=8)
def _tables(magnitude: int, height: int, width: int, device: torch.device) -> _Tables:
    """Return the tables, made by the operations themselves: from an image of places and one of all values."""
    area = height * width
    numbers = torch.arange(1, area + 1, dtype=torch.float32).view(1, 1, height, width)  # 0: from outside of the image
    all_values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    places, values = [], []
    for choice in range(2 * len(_OPERATIONS)):
        reads = _OPERATIONS[choice // 2].reads
        moved = _apply(numbers, choice, magnitude) if reads == "pixel" else numbers
        places.append((moved.flatten().long() - 1) % (area + 1))
        values.append((_apply(all_values, choice, magnitude) if reads == "value" else all_values).flatten())
    return _Tables(to_device(torch.stack(places), device), to_device(torch.stack(values), device))


def _apply(x_NCHW: Tensor, choice: int, magnitude: int) -> Tensor:
    index, negative = divmod(choice, 2)
    operation = _OPERATIONS[index]
    strength = strength_at(operation, magnitude, x_NCHW.shape[2], x_NCHW.shape[3])
    return operation.apply(x_NCHW, -strength if negative and operation.signed else strength)
