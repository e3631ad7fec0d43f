"""The largest eigenvalue of the Hessian of the mean loss, from Hessian-vector products (Pearlmutter 1994)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Product: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Eigenvalue:
    """An eigenvalue, the number of Hessian-vector products, and the final ||Hv - value v|| / |value|."""

    value: float
    iterations: int
    residual: float


def top_eigenvalue(
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 100,
    seed: int = 0,
) -> Eigenvalue:
    """Return the largest eigenvalue of the Hessian of the mean cross entropy over all images of the batches.

    Over all trainable parameters, in eval mode. The mean is over images, so the value does not depend on the batch
    size. Stops when the residual is at most ``tolerance``, or after ``max_iterations`` in each of at most two passes
    (see `largest`); the residual shows which.
    """
    model.eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    size = sum(p.numel() for p in parameters)
    start = torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(parameters[0])
    return largest(hessian_product(model, parameters, batches), start, tolerance, max_iterations)


def largest(product: Product, start: Tensor, tolerance: float, max_iterations: int) -> Eigenvalue:
    """Return the largest eigenvalue of a symmetric matrix H, given as v -> Hv.

    Power iteration finds the eigenvalue of the largest magnitude. If that is negative, m, a second pass over H - mI,
    which has no negative eigenvalues, finds the largest.
    """
    found = _power_iteration(product, start, 0.0, tolerance, max_iterations)
    if found.value >= 0:
        return found
    again = _power_iteration(product, start, found.value, tolerance, max_iterations)
    return Eigenvalue(again.value, found.iterations + again.iterations, again.residual)


def _power_iteration(product: Product, start: Tensor, shift: float, tolerance: float, limit: int) -> Eigenvalue:
    """Return the eigenvalue of H with the largest distance from ``shift``, by power iteration on H - shift I."""
    vector = start / start.norm()
    value, residual = 0.0, 0.0
    for iteration in range(1, limit + 1):
        image = product(vector)
        value = float(vector @ image)
        error = float((image - value * vector).norm())
        residual = error / abs(value) if value else error
        moved = image - shift * vector
        length = float(moved.norm())
        if residual <= tolerance or length == 0.0:
            return Eigenvalue(value, iteration, residual)
        vector = moved / length
    return Eigenvalue(value, limit, residual)


def hessian_product(
    model: nn.Module, parameters: Sequence[Tensor], batches: Sequence[tuple[Tensor, Tensor]]
) -> Product:
    """Return v -> Hv for the Hessian of the mean cross entropy in these parameters, flattened and concatenated."""
    images = sum(len(labels) for _, labels in batches)
    shapes = [p.shape for p in parameters]
    sizes = [p.numel() for p in parameters]

    def product(vector: Tensor) -> Tensor:
        parts = [part.view(shape) for part, shape in zip(torch.split(vector, sizes), shapes, strict=True)]
        total = torch.zeros_like(vector)
        for x_NCHW, y_N in batches:
            loss = F.cross_entropy(model(x_NCHW), y_N, reduction="sum") / images
            gradient = torch.autograd.grad(loss, parameters, create_graph=True)
            along = sum(((g * part).sum() for g, part in zip(gradient, parts, strict=True)), torch.zeros(()).to(loss))
            second = torch.autograd.grad(along, parameters, materialize_grads=True)
            total += torch.cat([part.flatten() for part in second])
        return total

    return product
