"""Splits into training, validation and test images: stratified, seeded, and nested in their sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.data.arrays import ImageArrays

_IMAGES = {"train_size": "training", "validation_size": "validation", "test_size": "test"}


@dataclass(frozen=True)
class Splits:
    """Indices, int64: ``train`` and ``val`` into the source's training images, ``test`` into its test images."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def make_splits(arrays: ImageArrays, config: DataConfig, seed: int) -> Splits:
    """Return the splits that ``config`` asks for.

    One stratified order of the source's training images is drawn from the trial's ``seed``, or from ``split_seed`` if
    ``split`` is ``fixed``. Its first ``validation_fraction`` is the validation split and the rest the training split. A
    smaller size takes the first images of its split, so a split of 500 images is a subset of one of 1,000. The
    validation images of a source that has its own are ordered and cut in the same way, and so are the test images,
    which are the same for all seeds.

    Raises StudyError if a size exceeds the number of images or leaves a class without an image.
    """
    fixed = config.split == "fixed"
    split_seed = config.split_seed if fixed else seed
    train, val = (_own_validation if arrays.validation else _held_out)(arrays, config, split_seed)
    tests = stratified_order(arrays.test_labels, np.random.default_rng([config.split_seed if fixed else 0, 1]))
    splits = Splits(
        train=_first(train, config.train_size, "train_size"),
        val=_first(val, config.validation_size, "validation_size"),
        test=_first(tests, config.test_size, "test_size"),
    )
    _check_classes("train_size", config, arrays, arrays.train_labels[splits.train])
    _check_classes("validation_size", config, arrays, arrays.train_labels[splits.val])
    _check_classes("test_size", config, arrays, arrays.test_labels[splits.test])
    return splits


def _held_out(arrays: ImageArrays, config: DataConfig, split_seed: int) -> tuple[np.ndarray, np.ndarray]:
    pool = stratified_order(arrays.train_labels, np.random.default_rng([split_seed, 0]))
    held_out = round(config.validation_fraction * len(pool))
    return pool[held_out:], pool[:held_out]


def _own_validation(arrays: ImageArrays, config: DataConfig, split_seed: int) -> tuple[np.ndarray, np.ndarray]:
    if config.validation_fraction != DataConfig().validation_fraction:
        raise StudyError(
            f"`data.validation_fraction` is {config.validation_fraction}, but {config.source} has validation images of "
            "its own, so nothing is held out; leave it out, or choose how many with `data.validation_size`"
        )
    count = len(arrays.train_labels) - arrays.validation
    train = stratified_order(arrays.train_labels[:count], np.random.default_rng([split_seed, 0]))
    val = stratified_order(arrays.train_labels[count:], np.random.default_rng([split_seed, 2]))
    return train, val + count


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


def covering(labels: np.ndarray, size: int) -> int:
    """Return the length of the shortest prefix of at least ``size`` labels, or of all, that has every class."""
    _, first = np.unique(labels, return_index=True)
    return min(len(labels), max(size, int(first.max()) + 1))


def _first(indices: np.ndarray, size: int | None, field: str) -> np.ndarray:
    if size is not None and size > len(indices):
        raise StudyError(f"`data.{field}` is {size}, but there are only {len(indices)} images; choose at most as many")
    return indices[:size]


def _check_classes(field: str, config: DataConfig, arrays: ImageArrays, labels: np.ndarray) -> None:
    counts = np.bincount(labels, minlength=len(arrays.classes))
    if counts.min() > 0:
        return
    setting, remedy = _what_decides(field, config, arrays)
    found = f"{setting} gives {len(labels)} {_IMAGES[field]} images"
    if len(labels) < len(arrays.classes):
        raise StudyError(f"{found} for {len(arrays.classes)} classes; {remedy}, so that no class is without an image")
    rarest = arrays.classes[int(counts.argmin())]
    raise StudyError(f"{found}, none of the rare class {rarest!r}; {remedy}, or leave the class out of the source")


def _what_decides(field: str, config: DataConfig, arrays: ImageArrays) -> tuple[str, str]:
    """Return what decides how many images a split has, as the study says it, and what to do for more of them."""
    size = getattr(config, field)
    if size is not None:
        return f"`data.{field}`", f"raise it to {max(len(arrays.classes), size + 1)} or more"
    if field == "test_size" or arrays.validation:
        return f"`data.source` {config.source}", "add images"
    remedy = "lower it" if field == "train_size" else "raise it"
    return f"`data.validation_fraction` {config.validation_fraction}", remedy
