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

from collections.abc import Callable, Mapping, Sequence
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
    centred = mean_NGc - mean
    return mean, torch.addcmul(variance_NGc, centred, centred).mean(dims, keepdim=True)


def _dims(over_batch: bool) -> tuple[int, ...]:
    return (0, 2) if over_batch else (2,)


def _by_plane(x_NGc: Tensor) -> Tensor:
    return x_NGc.reshape(len(x_NGc), -1, 1, 1)


def _total(terms: Sequence[Tensor]) -> Tensor:
    return terms[0] if len(terms) == 1 else terms[0] + terms[1]


def _part_size(x_NCHW: Tensor) -> int:
    """Return how many instances to work on at a time, so that the processor's cache holds them through all operations.

    With several threads it is all: threads wait for each other at the end of every operation, which takes long on cores
    that are shared with other processes.
    """
    if x_NCHW.device.type != "cpu" or torch.get_num_threads() > 1:
        return len(x_NCHW)
    return max(1, CACHED * len(x_NCHW) // x_NCHW.numel())


def _by_parts(compute: Callable[..., Moments], *images: Tensor) -> Moments:
    """Return two tensors ``(N, C)`` of images, computed a part of the batch at a time."""
    size = _part_size(images[0])
    if size >= len(images[0]):
        return compute(*images)
    parts = zip(*(torch.split(each, size) for each in images), strict=True)
    first, second = zip(*(compute(*part) for part in parts), strict=True)
    return torch.cat(first), torch.cat(second)


def _mapped(compute: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """Return images like the first, computed a part of the batch at a time.

    ``compute`` is called with the memory for its result, or None, and with a part of each; those with a value for each
    channel are ``(1, C, 1, 1)`` or ``(N, C, 1, 1)``.
    """
    like = images[0]
    size = _part_size(like)
    if size >= len(like):
        return compute(None, *images).to(like.dtype)
    out = torch.empty_like(like)
    is_direct = widened(like[:0]).dtype == like.dtype and not torch.is_grad_enabled()
    parts = (torch.split(_of_batch(each, len(like)), size) for each in images)
    for to, *part in zip(torch.split(out, size), *parts, strict=True):
        values = compute(to if is_direct else None, *part)
        if not is_direct:
            to.copy_(values)
    return out


def _of_batch(values: Tensor, instances: int) -> Tensor:
    return values.expand(instances, *values.shape[1:])


def _plane_moments(x_NCHW: Tensor) -> Moments:
    """Return the mean and the biased variance of every plane, ``(N, C)``."""
    wide = widened(x_NCHW)
    mean = wide.mean((2, 3), keepdim=True)
    # Computed after the mean: no cancellation, unlike E[x^2] - E[x]^2. Multiplied, because a square is slower.
    centred = wide - mean
    return mean.flatten(1), centred.mul_(centred).mean((2, 3))


def _plane_sums(x_NCHW: Tensor, grad: Tensor) -> Moments:
    """Return the sums of the gradient, and of its product with the images, over every plane, ``(N, C)``."""
    wide = widened(grad)
    return wide.sum((2, 3)), (wide * widened(x_NCHW)).sum((2, 3))


def _normalized(to: Tensor | None, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, widened(x), scale, out=to)


def _combined(to: Tensor | None, x: Tensor, grad: Tensor, slope: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
    """Return ``slope * x + offset + scale * grad``."""
    return torch.addcmul(offset, widened(x), slope, out=to).addcmul_(widened(grad), scale)


class _PlaneNorm(Function):
    # Operations of mixed dtypes are slow on a CPU, so bfloat16 images are converted, a part at a time. For small images
    # the number of operations is the time, so there are no more than needed.
    @staticmethod
    def forward(
        ctx: Any, x_NCHW: Tensor, groups: int, terms: tuple[bool, ...], bias: Tensor, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.terms, ctx.shape = terms, (groups, x_NCHW.shape[1] // groups)
        mean, variance = (moment.view(-1, *ctx.shape) for moment in _by_parts(_plane_moments, x_NCHW))
        shift, scales = bias.view(ctx.shape), []
        moments: list[Tensor] = []
        for over_batch, weight in zip(terms, weights, strict=True):
            of_set = set_moments(mean, variance, over_batch)
            scales.append(weight.view(ctx.shape) * torch.rsqrt(of_set[1] + EPS))
            shift = shift - scales[-1] * of_set[0]
            moments += of_set
        ctx.save_for_backward(x_NCHW, *moments, *weights)
        ctx.set_materialize_grads(False)
        return _mapped(_normalized, x_NCHW, _by_plane(shift), _by_plane(_total(scales))), *moments

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *grad_moments: Tensor | None) -> tuple[Any, ...]:
        x_NCHW, *saved = ctx.saved_tensors
        grad = torch.zeros_like(x_NCHW) if grad is None else grad
        moments, weights = saved[: 2 * len(ctx.terms)], saved[2 * len(ctx.terms) :]
        sums, products = (each.view(-1, *ctx.shape) for each in _by_parts(_plane_sums, x_NCHW, grad))
        scales, slopes, offsets, grad_weights = [], [], [], []
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
            scales.append(weight * r)
            slopes.append((d_variance * (2 / size)).expand(-1, *ctx.shape))
            offsets.append(((d_mean - 2 * d_variance * mean) / size).expand(-1, *ctx.shape))
        grad_x = None
        if ctx.needs_input_grad[0]:
            each = (_by_plane(_total(terms)) for terms in (slopes, offsets, scales))
            grad_x = _mapped(_combined, x_NCHW, grad, *each)
        return grad_x, None, None, sums.sum(0).flatten(), *grad_weights
