"""RandAugment (Cubuk et al. 2020, arXiv 1909.13719) on batches: every image its own operations, grouped to run together."""

from __future__ import annotations

import torch
from torch import Tensor

from tune_app.data.operations import OPERATIONS, strength_at

_OPERATIONS = tuple(OPERATIONS.values())


def draw_choices(n: int, rounds: int, generator: torch.Generator) -> Tensor:
    """Return what is done to each of ``n`` images in each round, int64 (n, rounds), on the CPU.

    The value 2 k + s is the k-th operation of the table, its strength taken negative where s is 1 and it is signed.
    All operations are equally probable, and so are both signs.
    """
    return torch.randint(2 * len(_OPERATIONS), (n, rounds), generator=generator)


def apply_choices(x_NHWC: Tensor, choices: Tensor, magnitude: int) -> Tensor:
    """Return uint8 images after the rounds that ``choices`` (N, rounds) lists, at RandAugment's magnitude M (0 to 30)."""
    x_NCHW = x_NHWC.permute(0, 3, 1, 2)
    for round_choices in choices.unbind(1):
        out = x_NCHW.clone()
        for choice in round_choices.unique().tolist():
            (chosen,) = torch.nonzero(round_choices == choice, as_tuple=True)
            rows = chosen.to(x_NCHW.device)
            out[rows] = apply_one(x_NCHW[rows], *divmod(choice, 2), magnitude)
        x_NCHW = out
    return x_NCHW.permute(0, 2, 3, 1)


def apply_one(x_NCHW: Tensor, index: int, negative: int, magnitude: int) -> Tensor:
    """Return all images after the operation at ``index`` of the table."""
    operation = _OPERATIONS[index]
    strength = strength_at(operation, magnitude, x_NCHW.shape[2], x_NCHW.shape[3])
    return operation.apply(x_NCHW, -strength if negative and operation.signed else strength)
