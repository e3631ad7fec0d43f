"""Measurements inside a network after each epoch: feature quantiles, dead features, weight and gradient norms.

Shape legend: N images, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tune_app.models import NORM_TYPES
from tune_app.training.epoch_metrics import QuantileRow

PERCENTILES = (1.0, 20.0, 80.0, 99.0)
PROBED_IMAGES = 512
_LARGEST_SAMPLE = 65_536


@dataclass(frozen=True)
class Probes:
    """What to record. All is measured in eval mode on the first validation images, the same in every epoch.

    ``quantiles``: percentiles of the features before the classifier, and the fraction of features that are 0 on all
    probed images (dead features), over at most 512 images; measured during the validation pass. ``norm_inputs``:
    percentiles of the input of each norm layer, which costs a pass over one batch. ``norms``: the norm of all weights
    after the epoch, and of the gradients, averaged over steps. ``train_clean``: figures on the training images without
    augmentation, after the last epoch, for the model then and for the one that is kept.
    """

    quantiles: bool = True
    norm_inputs: bool = False
    norms: bool = True
    train_clean: bool = False


def quantile_rows(layer: str, values: Tensor) -> tuple[QuantileRow, ...]:
    """Return the 1st, 20th, 80th and 99th percentile, interpolated linearly between neighbours.

    From more than 65,536 values, that many are sampled (with replacement, always the same positions).
    """
    flat = values.detach().float().flatten()
    if len(flat) > _LARGEST_SAMPLE:
        positions = torch.randint(len(flat), (_LARGEST_SAMPLE,), generator=torch.Generator().manual_seed(0))
        flat = flat[positions.to(flat.device)]
    levels = torch.tensor(PERCENTILES, device=flat.device) / 100
    found = torch.quantile(flat, levels).tolist()
    return tuple(QuantileRow(layer, percentile, value) for percentile, value in zip(PERCENTILES, found, strict=True))


def dead_fraction(features_ND: Tensor) -> float:
    """Return the fraction of features that are 0 on every image."""
    return float((features_ND == 0).all(0).float().mean())


def total_norm(tensors: Iterable[Tensor | None]) -> Tensor:
    """Return the L2 norm of all tensors together, as a tensor on the device; None is skipped."""
    return nn.utils.get_total_norm([tensor for tensor in tensors if tensor is not None])


def norm_input_rows(model: nn.Module, forward: Callable[[], object]) -> tuple[QuantileRow, ...]:
    """Return the percentiles of the input of each norm layer of ``model`` while ``forward`` runs, in layer order."""
    rows: dict[str, tuple[QuantileRow, ...]] = {}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, NORM_TYPES)}

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows[name] = quantile_rows(name, inputs[0])

        return hook

    handles = [module.register_forward_pre_hook(record(name)) for name, module in layers.items()]
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
    return tuple(row for name in layers for row in rows.get(name, ()))
