"""Augmentation policies: random changes of the training images, drawn at the start of each epoch.

Each operation has a generator of its own in each epoch, so policies share the draws of the operations that both have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from search_spaces.config.trial import AugmentationConfig
from tune_app.data.augmentation.crop_flip import crop, draw_flips, draw_offsets, mirror
from tune_app.data.resident import to_device

BatchAugmentation = Callable[[Tensor, slice], Tensor]
"""(images of a batch, uint8 (N, H, W, C); the batch's positions in the epoch) -> augmented images."""

Draw = Callable[..., torch.Generator]
"""(name of an operation, and its round if it has several) -> the epoch's own generator for that operation."""

Augmentation = Callable[[int, Draw, torch.device], BatchAugmentation]
"""(number of images in an epoch, draw, device) -> the augmentation of each batch of that epoch."""


def build_augmentation(config: AugmentationConfig) -> Augmentation:
    """Return the augmentation of the policy that ``config`` names."""
    return AUGMENTATIONS[config.policy](config)


def _none(config: AugmentationConfig) -> Augmentation:
    return lambda n, draw, device: lambda x_NHWC, batch: x_NHWC


def _crop_flip(config: AugmentationConfig) -> Augmentation:
    padding, flip = config.padding, config.flip

    def begin(n: int, draw: Draw, device: torch.device) -> BatchAugmentation:
        offsets = to_device(draw_offsets(n, padding, draw("crop")), device)
        flips = to_device(draw_flips(n, draw("flip")), device) if flip else None

        def augment(x_NHWC: Tensor, batch: slice) -> Tensor:
            x_NHWC = crop(x_NHWC, offsets[batch], padding) if padding else x_NHWC
            return x_NHWC if flips is None else mirror(x_NHWC, flips[batch])

        return augment

    return begin


def _randaugment(config: AugmentationConfig) -> Augmentation:
    from tune_app.data.augmentation.randaugment import (  # torchvision takes a second to import
        apply_choices,
        draw_choices,
    )

    crop_flip = _crop_flip(config)

    def begin(n: int, draw: Draw, device: torch.device) -> BatchAugmentation:
        choices = draw_choices(n, config.operations, draw)
        then = crop_flip(n, draw, device)
        return lambda x_NHWC, batch: then(apply_choices(x_NHWC, choices[batch], config.magnitude), batch)

    return begin


AUGMENTATIONS: Mapping[str, Callable[[AugmentationConfig], Augmentation]] = {
    "none": _none,
    "crop_flip": _crop_flip,
    "randaugment": _randaugment,
}
