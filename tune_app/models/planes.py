"""The two passes over an image batch that every norm layer consists of, with hand-written gradients.

A plane is one channel of one instance: N x C planes of H x W positions. ``plane_moments`` computes the mean and the
variance of every plane, ``scale_shift`` maps every plane linearly. Everything between the two works on ``(N, C)``
numbers and uses autograd. Autograd's gradients of these two passes would be correct as well, but they read the images
two to three times as often, and the time of a norm layer is determined by its memory traffic. The gradients here can
be differentiated again (Hessian-vector products).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx
from torch.nn import functional as F

Moments: TypeAlias = tuple[Tensor, Tensor]
"""Means and biased variances of sets of activations, of one shape."""


def plane_moments(x_NCHW: Tensor) -> tuple[Tensor, Moments]:
    """Return ``x_NCHW`` itself, and the mean and the biased variance of every plane, both ``(N, C)``.

    Use the returned images, not the argument, for later operations: the gradient of all three then takes one pass.
    """
    images, mean, variance = _PlaneMoments.apply(x_NCHW)
    return images, (mean, variance)


def scale_shift(x_NCHW: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return ``scale * x + shift`` with scale and shift ``(N, C)`` or ``(1, C)``."""
    out: Tensor = _ScaleShift.apply(x_NCHW, scale, shift)
    return out


def _by_plane(x_NC: Tensor) -> Tensor:
    return x_NC[:, :, None, None]


class _PlaneMoments(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = x_NCHW.mean((2, 3))
        # Computed after the mean: no cancellation, unlike E[x^2] - E[x]^2. mse_loss takes one pass for the squares.
        variance = F.mse_loss(x_NCHW, _by_plane(mean).expand_as(x_NCHW), reduction="none").mean((2, 3))
        ctx.save_for_backward(x_NCHW, mean)
        return x_NCHW.view_as(x_NCHW), mean, variance

    @staticmethod
    def backward(ctx: Any, grad_x: Tensor, grad_mean: Tensor, grad_variance: Tensor) -> Tensor:
        x_NCHW, mean = ctx.saved_tensors
        positions = x_NCHW.shape[2] * x_NCHW.shape[3]
        slope = grad_variance * (2 / positions)
        return torch.addcmul(_by_plane(grad_mean / positions - slope * mean), x_NCHW, _by_plane(slope)).add_(grad_x)


class _ScaleShift(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x_NCHW: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(x_NCHW, scale)
        return torch.addcmul(_by_plane(shift), x_NCHW, _by_plane(scale))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x_NCHW, scale = ctx.saved_tensors
        grad_scale = (grad * x_NCHW).sum((2, 3)).sum_to_size(scale.shape)
        return grad * _by_plane(scale), grad_scale, grad.sum((2, 3)).sum_to_size(scale.shape)
