"""Open image files from outside: a list of allowed formats and a limit on pixels, for every package."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

from search_spaces.errors import StudyError
from search_spaces.files import require_regular

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
"""Formats that Pillow decodes itself. Others, such as EPS, would start a program on the file's content."""
MAX_PIXELS = 50_000_000
_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError, struct.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


@contextmanager
def open_image(
    file: Path | IO[bytes], place: str | None = None, max_pixels: int = MAX_PIXELS, load: bool = True
) -> Iterator[Image.Image]:
    """Open an image file or stream of an allowed format for a ``with`` block, decoded unless ``load`` is false.

    ``place`` names the image in messages. Raises StudyError for another format, for more than ``max_pixels`` pixels,
    and for what cannot be read. Errors of the block itself are left alone.
    """
    name = place or str(file)
    try:
        if isinstance(file, Path):
            require_regular(file, name)
        image = Image.open(file, formats=FORMATS)
    except _UNREADABLE as error:
        raise _refused(name, error) from None
    with image:
        try:
            _require_size(image, name, max_pixels)
            if load:
                image.load()
        except _UNREADABLE as error:
            raise _refused(name, error) from None
        yield image


def _require_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise StudyError(
            f"{name}: the image is {width:,} x {height:,} pixels, but at most {max_pixels:,} pixels are read: make it "
            "smaller"
        )


def _refused(name: str, error: Exception) -> StudyError:
    if isinstance(error, StudyError):
        return error
    detail = str(error).split(" <_io")[0].split("\n")[0]
    return StudyError(
        f"{name}: not an image that can be read ({detail}); it must be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}: "
        "convert it, or leave it out"
    )
