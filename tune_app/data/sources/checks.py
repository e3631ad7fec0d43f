"""What a data function may return: splits of images and labels, checked and converted to uint8 (N, H, W, C)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.errors import StudyError, nearest, shown

_RULE = (
    "it must return a mapping with `train` and `test`, each a pair (images, labels), and optionally `val` and `classes`"
)
_IMAGES = "images must be uint8 from 0 to 255 or floating-point from 0 to 1, of shape (N, H, W) or (N, H, W, C)"
_KEYS = ("train", "val", "test", "classes")
_CHUNK = 1024


@dataclass(frozen=True)
class CheckedSplit:
    """Images (N, H, W, C) with C = 1 or 3, uint8 or floating-point from 0 to 1, and labels, int64 (N,), from 0."""

    images: np.ndarray
    labels: np.ndarray


def checked_splits(found: object, reference: str) -> tuple[dict[str, CheckedSplit], list[str]]:
    """Return the splits in the order train, val, test, and the class names; StudyError for what cannot be used."""
    if not isinstance(found, Mapping):
        raise StudyError(f"`{reference}` returned a {type(found).__name__}, but {_RULE}")
    for key in found:
        if key not in _KEYS:
            raise StudyError(f"`{reference}` returned the key {shown(key)}{nearest(key, _KEYS)}, but {_RULE}")
    for key in ("train", "test"):
        if found.get(key) is None:
            raise StudyError(f"`{reference}` returned no `{key}`, but {_RULE}")
    names = [name for name in ("train", "val", "test") if found.get(name) is not None]
    splits = {name: _split(found[name], f"`{reference}`, {name}") for name in names}
    _check_equal_sizes(splits, reference)
    classes = _classes(found.get("classes"), splits, reference)
    for name, split in splits.items():
        _check_labels(split.labels, classes, f"`{reference}`, {name}")
    return splits, classes


def write_images(path: Path, splits: Sequence[CheckedSplit]) -> None:
    """Write images one after another to one .npy file, uint8: a float x in 0 to 1 becomes x * 255, rounded."""
    count = sum(len(split.labels) for split in splits)
    shape = (count, *splits[0].images.shape[1:])
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    place = 0
    for split in splits:
        for start in range(0, len(split.images), _CHUNK):
            chunk = split.images[start : start + _CHUNK]
            is_float = np.issubdtype(chunk.dtype, np.floating)
            written[place : place + len(chunk)] = np.rint(chunk.astype(np.float64) * 255) if is_float else chunk
            place += len(chunk)
    written.flush()


def _split(pair: object, place: str) -> CheckedSplit:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise StudyError(f"{place}: it is {_described(pair)}, but must be a pair (images, labels)")
    images, labels = _images(_array(pair[0], f"{place} images"), f"{place} images"), _labels(pair[1], f"{place} labels")
    if len(images) != len(labels):
        raise StudyError(f"{place}: there are {len(images):,} images but {len(labels):,} labels; give one for each")
    if not len(images):
        raise StudyError(f"{place}: there are no images; give at least one for each class")
    return CheckedSplit(images, labels)


def _array(value: Any, place: str) -> np.ndarray:
    """Return a tensor or an array, or nested lists, as an array."""
    torch = sys.modules.get("torch")  # without it the value is no tensor
    if torch is not None and isinstance(value, torch.Tensor):
        plain = value.detach().cpu()
        value = plain.float() if plain.dtype == torch.bfloat16 else plain
    try:
        return np.asarray(value)
    except ValueError as error:  # lists of unequal lengths
        raise StudyError(f"{place}: they are not one array ({error}); give a numpy array or a torch tensor") from None


def _images(images: np.ndarray, place: str) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        shape = tuple(images.shape)
        hint = ""
        if images.ndim == 4 and images.shape[1] in (1, 3):
            hint = "; channels come last: use numpy.moveaxis(images, 1, 3) or images.permute(0, 2, 3, 1)"
        raise StudyError(f"{place}: their shape is {shape}, but {_IMAGES}, where C is 1 or 3{hint}")
    is_float = np.issubdtype(images.dtype, np.floating)
    if images.dtype != np.uint8 and not is_float:
        raise StudyError(f"{place}: their type is {images.dtype}, but {_IMAGES}; use images.astype(numpy.uint8)")
    if is_float:
        _check_range(images, place)
    return images


def _check_range(images: np.ndarray, place: str) -> None:
    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    low, high = min((c.min() for c in chunks), default=0.0), max((c.max() for c in chunks), default=0.0)
    if not (low >= 0 and high <= 1):  # nan is refused too
        raise StudyError(
            f"{place}: floating-point values go from {low:g} to {high:g}, but must be from 0 to 1; give pixels before "
            "any normalization (training normalizes them itself), divided by 255, or as uint8"
        )


def _labels(value: Any, place: str) -> np.ndarray:
    labels = _array(value, place)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise StudyError(
            f"{place}: they are {_described(labels)}, but must be integers from 0 of shape (N,); "
            "use labels.astype(numpy.int64), and argmax(1) for one-hot labels"
        )
    return labels.astype(np.int64)


def _check_equal_sizes(splits: Mapping[str, CheckedSplit], reference: str) -> None:
    expected = splits["train"].images.shape[1:]
    for name, split in splits.items():
        if split.images.shape[1:] != expected:
            raise StudyError(
                f"`{reference}`, {name} images: their size (H, W, C) is {split.images.shape[1:]}, but that of the "
                f"training images is {expected}; make them equal"
            )


def _classes(given: Any, splits: Mapping[str, CheckedSplit], reference: str) -> list[str]:
    """Return the names that were given, or the labels' digits."""
    if given is None:
        names = [str(label) for label in range(int(splits["train"].labels.max()) + 1)]
    else:
        names = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
        if not all(isinstance(name, str) for name in names) or not names or len(set(names)) != len(names):
            raise StudyError(
                f"`{reference}`, classes: they are {shown(given)}, but must be a list of different names, one for each "
                "label from 0"
            )
    if len(names) < 2:
        raise StudyError(f"`{reference}` has one class, {names[0]!r}, but a classifier needs at least two")
    return names


def _check_labels(labels: np.ndarray, classes: Sequence[str], place: str) -> None:
    wrong = (labels < 0) | (labels >= len(classes))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise StudyError(
            f"{place} labels: label {row} (counted from 0) is {labels[row]}, but there are {len(classes)} classes, "
            f"0 to {len(classes) - 1}"
        )
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() == 0:
        absent = int(counts.argmin())
        raise StudyError(
            f"{place} labels: class {absent} ({classes[absent]!r}) has no image; add some, or number the classes "
            "from 0 without gaps"
        )


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
