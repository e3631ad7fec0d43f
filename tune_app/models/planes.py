"""The passes over an image batch that every norm layer consists of, as one function with a hand-written gradient.

A plane is one channel of one instance: N x C planes of H x W positions. The channels are in G groups, and a set of
activations that shares its mean m and variance v is the planes of a group, in one instance or in all of the batch. With
r = 1 / sqrt(v + eps), a norm is ``y = w * r * (x - m) + b``, or a sum of several such terms with a weight w per channel
each. With the gradient g of y, sums over a set of K activations and ``t = sum(g * (x - m))`` over a plane:

    dw = sum(r * t),  dm = -r * sum(w * g),  dv = -r^3 / 2 * sum(w * t),  dx = w * r * g + (dm + 2 * dv * (x - m)) / K

The images are read for ``sum(g)`` and ``sum(g * x)`` of each plane, and once more for dx; all else is ``(N, C)``.
Memory traffic determines the time of a norm layer: autograd alone would read the images about three times as often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import Function

EPS = 1e-5
CACHED = 2**17
"""Values that a CPU works on at a time: half a megabyte in float32."""
Moments: TypeAlias = tuple[Tensor, Tensor]
"""Means and biased variances of sets of activations, ``(N, G, 1)``, or ``(1, G, 1)`` over the batch."""


def plane_norm(
    x_NCHW: Tensor, groups: int, weights: Mapping[bool, Tensor], bias: Tensor
) -> tuple[Tensor, dict[bool, Moments]]:
    """Return the normalized images, in the dtype of ``x_NCHW``, and the moments of each term.

    ``weights``: for each term its weight ``(C,)``, by whether its sets extend over the batch. Statistics are computed
    in float32 or float64. The gradient can be differentiated again.
    """
    y_NCHW, *moments = _PlaneNorm.apply(x_NCHW, groups, tuple(weights), bias, *weights.values())
    return y_NCHW, dict(zip(weights, zip(moments[::2], moments[1::2], strict=True), strict=True))


def scale_shift(x_NCHW: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return ``scale * x + shift`` with scale and shift ``(C,)``."""
    return torch.addcmul(shift[:, None, None], x_NCHW, scale[:, None, None])


def widened(x: Tensor) -> Tensor:
    """Return values in float32, or in float64 if they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def set_moments(mean_NGc: Tensor, variance_NGc: Tensor, over_batch: bool) -> Moments:
    """Return the moments of sets from those of their planes, ``(N, G, C / G)``.

    The law of total variance: the mean of the variances plus the variance of the means.
    """
    dims = _dims(over_batch)
    mean = mean_NGc.mean(dims, keepdim=True)
    return mean, torch.addcmul(variance_NGc, mean_NGc - mean, mean_NGc - mean).mean(dims, keepdim=True)


def _dims(over_batch: bool) -> tuple[int, ...]:
    return (0, 2) if over_batch else (2,)


def _by_plane(x_NGc: Tensor) -> Tensor:
    return x_NGc.flatten(1)[:, :, None, None]


def _parts(x_NCHW: Tensor) -> list[slice]:
    """Return slices of the batch, each so small that the processor's cache holds it through several operations.

    With several threads there is one: threads wait for each other at the end of every operation, which takes long on
    cores that are shared with other processes.
    """
    if x_NCHW.device.type != "cpu" or torch.get_num_threads() > 1:
        return [slice(None)]
    instances = max(1, CACHED * x_NCHW.shape[0] // x_NCHW.numel())
    return [slice(first, first + instances) for first in range(0, x_NCHW.shape[0], instances)]


def _plane_moments(x_NCHW: Tensor) -> Moments:
    """Return the mean and the biased variance of every plane, ``(N, C)``."""
    means: list[Tensor] = []
    variances: list[Tensor] = []
    for part in _parts(x_NCHW):
        wide = widened(x_NCHW[part])
        means.append(wide.mean((2, 3)))
        # Computed after the mean: no cancellation, unlike E[x^2] - E[x]^2. Multiplied, because a square is slower.
        centred = wide - means[-1][:, :, None, None]
        variances.append(centred.mul_(centred).mean((2, 3)))
    return torch.cat(means), torch.cat(variances)


class _PlaneNorm(Function):
    # Operations of mixed dtypes are slow on a CPU, so bfloat16 images are converted, a part at a time.
    @staticmethod
    def forward(
        ctx: Any, x_NCHW: Tensor, groups: int, terms: tuple[bool, ...], bias: Tensor, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.terms, ctx.shape = terms, (groups, x_NCHW.shape[1] // groups)
        planes = [moment.view(-1, *ctx.shape) for moment in _plane_moments(x_NCHW)]
        scale, shift = torch.zeros_like(planes[0]), bias.view(ctx.shape)
        moments: list[Tensor] = []
        for over_batch, weight in zip(terms, weights, strict=True):
            of_set = set_moments(planes[0], planes[1], over_batch)
            term = weight.view(ctx.shape) * torch.rsqrt(of_set[1] + EPS)
            scale, shift = scale + term, shift - term * of_set[0]
            moments += of_set
        ctx.save_for_backward(x_NCHW, *moments, *weights)
        ctx.set_materialize_grads(False)
        scale, shift = _by_plane(scale), _by_plane(shift.expand(scale.shape))
        y_NCHW = torch.empty_like(x_NCHW)
        for part in _parts(x_NCHW):
            to = y_NCHW[part]
            _store(to, _linear(to, shift[part], widened(x_NCHW[part]), scale[part]))
        return y_NCHW, *moments

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *grad_moments: Tensor | None) -> tuple[Any, ...]:
        x_NCHW, *saved = ctx.saved_tensors
        grad = torch.zeros_like(x_NCHW) if grad is None else grad
        moments, weights = saved[: 2 * len(ctx.terms)], saved[2 * len(ctx.terms) :]
        sums, products = (each.view(-1, *ctx.shape) for each in _plane_sums(x_NCHW, grad))
        scale = slope = offset = torch.zeros_like(sums)
        grad_weights = []
        for number, over_batch in enumerate(ctx.terms):
            mean, variance = moments[2 * number : 2 * number + 2]
            weight, r, dims = weights[number].view(ctx.shape), torch.rsqrt(variance + EPS), _dims(over_batch)
            centred = products - mean * sums
            grad_weights.append((r * centred).sum(0).flatten())
            d_mean = -r * (weight * sums).sum(dims, keepdim=True)
            d_variance = -0.5 * r**3 * (weight * centred).sum(dims, keepdim=True)
            # The moments are outputs, so that all this can be differentiated again: then they have gradients.
            from_mean, from_variance = grad_moments[2 * number : 2 * number + 2]
            d_mean = d_mean if from_mean is None else d_mean + from_mean
            d_variance = d_variance if from_variance is None else d_variance + from_variance
            size = x_NCHW.numel() // mean.numel()
            scale, slope = scale + weight * r, slope + d_variance * (2 / size)
            offset = offset + (d_mean - 2 * d_variance * mean) / size
        grad_x = _combined(x_NCHW, grad, slope, offset, scale) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, sums.sum(0).flatten(), *grad_weights


def _plane_sums(x_NCHW: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of the gradient, and of its product with the images, over every plane, ``(N, C)``."""
    sums: list[Tensor] = []
    products: list[Tensor] = []
    for part in _parts(x_NCHW):
        wide = widened(grad[part])
        sums.append(wide.sum((2, 3)))
        products.append((wide * widened(x_NCHW[part])).sum((2, 3)))
    return torch.cat(sums), torch.cat(products)


def _combined(x_NCHW: Tensor, grad: Tensor, slope: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
    """Return ``slope * x + offset + scale * grad``, in the dtype of the images."""
    slope, offset, scale = (_by_plane(each) for each in (slope, offset, scale))
    out = torch.empty_like(x_NCHW)
    for part in _parts(x_NCHW):
        to = out[part]
        linear = _linear(to, offset[part], widened(x_NCHW[part]), slope[part])
        _store(to, linear.addcmul_(widened(grad[part]), scale[part]))
    return out


def _linear(to: Tensor, offset: Tensor, x: Tensor, slope: Tensor) -> Tensor:
    """Return ``offset + slope * x``: in the memory of ``to`` where it has the dtype and nothing is differentiated."""
    is_direct = to.dtype == x.dtype and not torch.is_grad_enabled()
    return torch.addcmul(offset, x, slope, out=to) if is_direct else torch.addcmul(offset, x, slope)


def _store(to: Tensor, values: Tensor) -> None:
    if values is not to:
        to.copy_(values)
