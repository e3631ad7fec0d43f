"""Random directions in weight space, normalised filter by filter (Li et al. 2018, arXiv 1712.09913).

A network with ReLU and norm layers computes the same when a filter is scaled up and its norm makes up for it, so a step
of fixed length means nothing by itself. Each filter of a direction is therefore given the norm of the filter it moves:
a step of 1 replaces as much as is there. As in the authors' implementation a filter is a slice along the first
dimension of a tensor, of linear layers too, and tensors of one dimension or none (biases, norm layers) stay put.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

Directions = tuple[dict[str, Tensor], dict[str, Tensor]]
"""The two directions of a plane, by the name of the parameter that they move; what does not move is left out."""

_EPS = 1e-10  # as the authors' implementation has it: a filter of zeros in the direction stays one


def plane_directions(
    weights: Mapping[str, Tensor], seed: int, stream: str = "", orthogonal: bool = False
) -> Directions:
    """Return two random directions from these weights, normalised filter by filter.

    A tensor's draw depends on ``seed``, ``stream`` and the parameter's name and shape alone: models that share a stream
    share the draw of every parameter that they have in common. ``orthogonal`` makes each filter of the second
    direction orthogonal to the first's before it is normalised, so that the directions as a whole are orthogonal, too;
    the authors leave them as drawn. A filter of a single weight has no second direction then, and stays put.
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
    """Return ``direction`` less its part along ``other``, filter by filter."""
    if direction[0].numel() == 1:
        return torch.zeros_like(direction)
    inner = tuple(range(1, direction.dim()))
    part = (direction * other).sum(inner, keepdim=True) / other.square().sum(inner, keepdim=True)
    return direction - part * other


def _draw(weight: Tensor, key: str) -> Tensor:
    """Return standard normal numbers of the weight's shape, memory format and device; drawn on the CPU."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) >> 1
    drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    return torch.empty_like(weight).copy_(drawn)
