"""Splits into training, validation and test images: stratified, seeded, and nested in their sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.data.arrays import ImageArrays


@dataclass(frozen=True)
class Splits:
    """Indices, int64: ``train`` and ``val`` into the source's training images, ``test`` into its test images."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def make_splits(arrays: ImageArrays, config: DataConfig) -> Splits:
    """Return the splits that ``config`` asks for.

    One stratified order of the source's training images is drawn from ``split_seed``. Its first
    ``validation_fraction`` is the validation split and the rest the training split. A smaller size takes the first
    images of its split, so a split of 500 images is a subset of one of 1,000. The test images are ordered and cut in
    the same way.

    Raises StudyError if a size exceeds the number of images or leaves a class without an image.
    """
    pool = stratified_order(arrays.train_labels, np.random.default_rng([config.split_seed, 0]))
    tests = stratified_order(arrays.test_labels, np.random.default_rng([config.split_seed, 1]))
    held_out = round(config.validation_fraction * len(pool))
    splits = Splits(
        train=_first(pool[held_out:], config.train_size, "train_size"),
        val=_first(pool[:held_out], config.validation_size, "validation_size"),
        test=_first(tests, config.test_size, "test_size"),
    )
    _check_classes("train_size", arrays.train_labels[splits.train], arrays.classes)
    _check_classes("validation_size", arrays.train_labels[splits.val], arrays.classes)
    _check_classes("test_size", arrays.test_labels[splits.test], arrays.classes)
    return splits


def stratified_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random order of the images in which every contiguous segment has nearly the same class fractions.

    The k-th of the n images of a class gets the relative position (k - 1/2) / n. So in any m consecutive images the
    count of a class differs from m times its fraction by at most 1/2 + (its fraction) x (number of classes) / 2 per
    end; with classes of equal size, by at most one image.
    """
    shuffled: np.ndarray = rng.permutation(len(labels))
    position = np.empty(len(labels))
    for label in np.unique(labels):
        (indices,) = np.nonzero(labels[shuffled] == label)
        position[indices] = (np.arange(len(indices)) + 0.5) / len(indices)
    return shuffled[np.argsort(position, kind="stable")]


def _first(indices: np.ndarray, size: int | None, field: str) -> np.ndarray:
    if size is not None and size > len(indices):
        raise StudyError(f"`data.{field}` is {size}, but there are only {len(indices)} images; choose at most as many")
    return indices[:size]


def _check_classes(field: str, labels: np.ndarray, classes: tuple[str, ...]) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    if len(labels) < len(classes):
        raise StudyError(
            f"`data.{field}` gives {len(labels)} images for {len(classes)} classes; "
            f"it must be at least {len(classes)}, so that no class is without an image"
        )
    if counts.min() == 0:
        rarest = classes[int(counts.argmin())]
        raise StudyError(
            f"`data.{field}`: none of the {len(labels)} images is of the rare class {rarest!r}; "
            "raise the size, or `data.validation_fraction`, or leave the class out of the source"
        )
