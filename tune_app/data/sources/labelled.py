"""Encoded images with labels: the common part of the sources `folder` and `parquet`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_spaces.errors import StudyError
from tune_app.data.arrays import ImageArrays, image_arrays
from tune_app.data.sources.decode import EncodedImage, decode_images, in_threads

_DECODING = 1  # increase it when a code change makes the same files give different arrays


@dataclass(frozen=True)
class Labelled:
    """Encoded images and their labels, int64 (N,)."""

    images: Sequence[EncodedImage]
    labels: np.ndarray


def decode_source(train: Labelled, test: Labelled, classes: tuple[str, ...], resolution: int | None) -> ImageArrays:
    """Return the decoded source; StudyError where a split lacks a class or an image cannot be used."""
    for split, labels in (("training", train.labels), ("test", test.labels)):
        counts = np.bincount(labels, minlength=len(classes))
        if counts.min() == 0:
            raise StudyError(
                f"class {classes[int(counts.argmin())]!r} has no {split} images: "
                "add some, or take the class out of the other split and of the class names"
            )
    images = decode_images([*train.images, *test.images], resolution)
    n = len(train.images)
    return image_arrays(images[:n], train.labels, images[n:], test.labels, classes)


def content_key(folder: Path, files: Iterable[Path], resolution: int | None) -> str:
    """Return a hash, 16 hexadecimal digits, of the names and bytes of the files and of the way they are decoded."""
    ordered = sorted(files)
    digest = hashlib.sha256(f"decoding {_DECODING} resolution {resolution}".encode())
    for path, file_digest in zip(ordered, in_threads(_file_digest, ordered), strict=True):
        digest.update(f"\n{path.relative_to(folder).as_posix()} ".encode() + file_digest)
    return digest.hexdigest()[:16]


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error}): check that it exists and is readable") from None
