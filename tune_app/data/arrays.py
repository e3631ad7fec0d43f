"""A decoded source: images, labels and class names as plain arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageArrays:
    """The images of one source, decoded once. The arrays may be read-only and shared between processes.

    ``train_images`` and ``test_images`` are uint8 (N, H, W, C) with C = 1 or 3, the labels int64 (N,) from 0 on.
    ``fingerprint`` is 16 hexadecimal digits that depend on the content only: equal images, labels and class names have
    the same fingerprint, wherever they were read from.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    fingerprint: str


def image_arrays(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    classes: tuple[str, ...],
) -> ImageArrays:
    """Return the arrays with their fingerprint; AssertionError for shapes and types that a source may not have."""
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        assert images.dtype == np.uint8, images.dtype
        assert images.ndim == 4, images.shape
        assert images.shape[3] in (1, 3), images.shape
        assert labels.dtype == np.int64, labels.dtype
        assert labels.shape == images.shape[:1], (labels.shape, images.shape)
    assert train_images.shape[1:] == test_images.shape[1:], (train_images.shape, test_images.shape)
    fingerprint = _fingerprint((train_images, train_labels, test_images, test_labels), classes)
    return ImageArrays(train_images, train_labels, test_images, test_labels, classes, fingerprint)


def _fingerprint(arrays: tuple[np.ndarray, ...], classes: tuple[str, ...]) -> str:
    """Return SHA-256, cut to 64 bits, over the shapes, types and values of the arrays and the class names."""
    digest = hashlib.sha256(repr(classes).encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
