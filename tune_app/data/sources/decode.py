"""Encoded images (PNG, JPEG, ...) decoded into one array by a pool of threads."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from search_spaces.errors import StudyError
from search_spaces.images import open_image
from tune_app.data.memory import require_memory

_GRAY = frozenset({"1", "L", "LA", "La"})
_COLOUR = frozenset({"RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB"})

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class EncodedImage:
    """An image file or its bytes, and its location for error messages."""

    content: Path | bytes
    place: str


def decode_images(encoded: Sequence[EncodedImage], resolution: int | None) -> np.ndarray:
    """Return the images as uint8 (N, H, W, C): C is 1 if all of them are gray, and 3 otherwise.

    Palettes are converted to colours and transparency is dropped. With a ``resolution`` each image is cropped to its
    central square and resized to that many pixels (bilinear, antialiased); without one all must have the same size.

    Raises StudyError for an image that cannot be read, is of no allowed format, is too large, has more than 8 bits per
    channel, or has a different size, and for more images than fit into memory.
    """
    headers = in_threads(_header, encoded)
    if resolution is None:
        _check_sizes(encoded, [size for size, _ in headers])
        width, height = headers[0][0]
    else:
        width = height = resolution
    mode = "L" if all(mode in _GRAY for _, mode in headers) else "RGB"
    require_memory(len(encoded), height, width, len(mode), encoded[0].place)
    images = np.empty((len(encoded), height, width, len(mode)), np.uint8)

    def decode(index: int) -> None:
        pixels = _pixels(encoded[index], mode, resolution)
        images[index] = pixels.reshape(images.shape[1:])

    in_threads(decode, range(len(encoded)))
    return images


def in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return ``function`` of each item, in order, computed in chunks by as many threads as there are cores."""
    size = 32
    starts = range(0, len(items), size)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        parts = pool.map(lambda start: [function(item) for item in items[start : start + size]], starts)
        return [result for part in parts for result in part]


def _header(image: EncodedImage) -> tuple[tuple[int, int], str]:
    """Return the (width, height) and the mode of an image, of which only the beginning is read."""
    with open_image(_file(image), image.place, load=False) as opened:
        size, mode = opened.size, opened.mode
    if mode not in _GRAY | _COLOUR:
        raise StudyError(
            f"{image.place}: the image has the pixel type {mode!r}, but must have 8 bits per channel "
            "(gray, RGB, RGBA or a palette): convert it"
        )
    return size, mode


def _pixels(image: EncodedImage, mode: str, resolution: int | None) -> np.ndarray:
    with open_image(_file(image), image.place) as opened:
        # A palette's transparency may be a table of bytes, which only a conversion by way of RGBA takes.
        pixels = opened.convert("RGBA") if opened.mode in ("P", "PA") else opened
        pixels = pixels.convert(mode)
    if resolution is not None and pixels.size != (resolution, resolution):
        pixels = ImageOps.fit(pixels, (resolution, resolution), Image.Resampling.BILINEAR)
    return np.asarray(pixels)


def _file(image: EncodedImage) -> Path | io.BytesIO:
    return io.BytesIO(image.content) if isinstance(image.content, bytes) else image.content


def _check_sizes(encoded: Sequence[EncodedImage], sizes: Sequence[tuple[int, int]]) -> None:
    for image, (width, height) in zip(encoded, sizes, strict=True):
        if (width, height) != sizes[0]:
            raise StudyError(
                f"{image.place}: the image is {width} x {height} pixels, but that of {encoded[0].place} is "
                f"{sizes[0][0]} x {sizes[0][1]}: set `data.resolution` to resize all of them to one size"
            )
