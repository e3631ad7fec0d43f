"""Synthetic images for tests and examples: ten smooth colour patterns with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from search_spaces.config.trial import DataConfig
from tune_app.data.arrays import ImageArrays, image_arrays

_CLASSES, _SIDE, _TRAIN, _TEST = 10, 32, 1000, 200
_FREQUENCIES = 3


def make_synthetic(config: DataConfig, cache_dir: Path) -> ImageArrays:
    """Return 1,000 training and 200 test images of 32x32x3 in ten classes of equal size; always the same images.

    A class is a sum of cosines of low frequency with random amplitudes; an image is the pattern of its class with
    random brightness and contrast, plus white noise.
    """
    rng = np.random.default_rng(0)
    patterns = _patterns(rng)
    train_images, train_labels = _draw(patterns, _TRAIN, rng)
    test_images, test_labels = _draw(patterns, _TEST, rng)
    classes = tuple(f"pattern {label}" for label in range(_CLASSES))
    return image_arrays(train_images, train_labels, test_images, test_labels, classes)


def _patterns(rng: np.random.Generator) -> np.ndarray:
    """Return one pattern of unit variance per class, (classes, side, side, 3)."""
    cosines = np.cos(np.pi * np.outer((np.arange(_SIDE) + 0.5) / _SIDE, np.arange(_FREQUENCIES)))
    amplitudes = rng.normal(size=(_CLASSES, _FREQUENCIES, _FREQUENCIES, 3))
    patterns: np.ndarray = np.einsum("ku,lv,nuvc->nklc", cosines, cosines, amplitudes)
    patterns /= patterns.std(axis=(1, 2, 3), keepdims=True)
    return patterns


def _draw(patterns: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.permutation(np.arange(n, dtype=np.int64) % _CLASSES)
    brightness = rng.normal(128, 20, size=(n, 1, 1, 1))
    contrast = rng.uniform(10, 40, size=(n, 1, 1, 1))
    images = brightness + contrast * patterns[labels] + rng.normal(0, 40, size=(n, _SIDE, _SIDE, 3))
    return np.rint(images).clip(0, 255).astype(np.uint8), labels
