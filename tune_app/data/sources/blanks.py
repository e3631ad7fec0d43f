"""Blank images in place of a data set that has not been downloaded yet: sufficient to estimate the training time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_spaces.config.trial import DataConfig
from tune_app.cache_folder import cache_folder
from tune_app.data.arrays import ImageArrays, image_arrays
from tune_app.data.sources.downloads import download_folder


@dataclass(frozen=True)
class _Shape:
    folder: str  # created by torchvision
    image: tuple[int, int, int]  # H, W, C
    classes: int
    train: int
    test: int


SHAPES: Mapping[str, _Shape] = {
    "cifar10": _Shape("cifar-10-batches-py", (32, 32, 3), 10, 50_000, 10_000),
    "cifar100": _Shape("cifar-100-python", (32, 32, 3), 100, 50_000, 10_000),
    "fashion_mnist": _Shape("FashionMNIST/raw", (28, 28, 1), 10, 60_000, 10_000),
}


def blank_source(config: DataConfig, cache_dir: Path | None = None) -> ImageArrays | None:
    """Return black images in the number and shape of a data set that is not downloaded yet; None for all others."""
    shape = SHAPES.get(config.source)
    if shape is None:
        return None
    folder = download_folder(config, cache_folder() if cache_dir is None else cache_dir)
    if (folder / shape.folder).is_dir():
        return None
    train, test = (np.arange(count, dtype=np.int64) % shape.classes for count in (shape.train, shape.test))
    images = (np.zeros((len(labels), *shape.image), np.uint8) for labels in (train, test))
    return image_arrays(next(images), train, next(images), test, tuple(map(str, range(shape.classes))))
