"""Random directions in weight space, normalised filter by filter (Li et al. 2018, arXiv 1712.09913).

A network with ReLU and norm layers is invariant to the scale of its filters, so a step of fixed length has no absolute
meaning. Each filter of a direction is therefore scaled to the norm of the corresponding filter of the model. As in the
authors' implementation, a filter is a slice along the first dimension of a tensor, also in linear layers, and tensors
of one dimension or none (biases, norm layers) do not move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

Directions = tuple[dict[str, Tensor], dict[str, Tensor]]
"""The two directions of a plane: parameter name -> tensor; parameters that do not move are omitted."""

_EPS = 1e-10  # as in the authors' implementation: a filter of zeros in the direction remains zero


def plane_directions(
    weights: Mapping[str, Tensor], seed: int, stream: str = "", orthogonal: bool = False
) -> Directions:
    """Return two random directions from these weights, normalised filter by filter.

    The draw for a tensor depends only on ``seed``, ``stream`` and the parameter's name and shape: models with the same
    stream have the same draws for the parameters that they have in common. ``orthogonal`` makes each filter of the
    second direction orthogonal to that of the first before normalisation, so the directions as a whole are orthogonal
    too; the authors do not do this. A filter of a single weight then has no second direction and does not move.
    """
    weights = {name: weight.detach() for name, weight in weights.items()}
    first, second = (
        {name: _draw(w, f"{seed}/{axis}/{stream}/{name}") for name, w in weights.items() if w.dim() > 1}
        for axis in ("x", "y")
    )
    if orthogonal:
        second = {name: _without(second[name], first[name]) for name in second}
    return (
        {name: filter_normalized(d, weights[name]) for name, d in first.items()},
        {name: filter_normalized(d, weights[name]) for name, d in second.items()},
    )


def filter_normalized(direction: Tensor, weight: Tensor) -> Tensor:
    """Return ``direction`` with each slice along the first dimension scaled by ||w|| / (||d|| + 1e-10)."""
    scale = _filter_norms(weight) / (_filter_norms(direction) + _EPS)
    return torch.empty_like(weight).copy_(direction * scale)  # in the weight's memory format


def _filter_norms(tensor: Tensor) -> Tensor:
    inner = tuple(range(1, tensor.dim()))
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=inner, keepdim=True)
    return norms


def _without(direction: Tensor, other: Tensor) -> Tensor:
    """Return ``direction`` minus its projection on ``other``, filter by filter."""
    if direction[0].numel() == 1:
        return torch.zeros_like(direction)
    inner = tuple(range(1, direction.dim()))
    part = (direction * other).sum(inner, keepdim=True) / other.square().sum(inner, keepdim=True)
    return direction - part * other


def _draw(weight: Tensor, key: str) -> Tensor:
    """Return standard normal numbers with the shape, memory format and device of ``weight``; drawn on the CPU."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) >> 1
    drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    return torch.empty_like(weight).copy_(drawn)
