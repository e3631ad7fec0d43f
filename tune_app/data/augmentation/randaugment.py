"""RandAugment (Cubuk et al. 2020, arXiv 1909.13719) on batches: operations drawn per image, run per group of images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tune_app.data.augmentation.operations import OPERATIONS, strength_at

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
    """Return uint8 images after the rounds listed in ``choices`` (N, rounds), at the magnitude M, 0 to 30."""
    x_NCHW = x_NHWC.permute(0, 3, 1, 2)
    for column in choices.unbind(1):
        out = x_NCHW.clone()
        for choice in sorted(set(column.tolist())):
            rows = torch.nonzero(column == choice).flatten().to(x_NCHW.device)
            out[rows] = _apply(x_NCHW[rows], choice, magnitude)
        x_NCHW = out
    return x_NCHW.permute(0, 2, 3, 1)


def _apply(x_NCHW: Tensor, choice: int, magnitude: int) -> Tensor:
    index, negative = divmod(choice, 2)
    operation = _OPERATIONS[index]
    strength = strength_at(operation, magnitude, x_NCHW.shape[2], x_NCHW.shape[3])
    return operation.apply(x_NCHW, -strength if negative else strength)
