"""Image files from outside: which are opened, and which are refused before any decoder sees them."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from search_spaces.errors import StudyError
from search_spaces.images import FORMATS, MAX_PIXELS, open_image

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\nshowpage\n%%EOF\n"


def png_header(width: int, height: int) -> bytes:
    """Return a PNG file that promises a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_allowed_format_is_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "an.image"
    Image.fromarray(np.full((4, 6, 3), 200, np.uint8)).save(path, kind)
    with open_image(path) as image:
        assert image.size == (6, 4)
        assert np.asarray(image.convert("RGB")).mean() == pytest.approx(200, abs=3)


def test_an_eps_named_png_never_reaches_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_args, **_more: pytest.fail("Ghostscript was started"))
    (tmp_path / "0.png").write_bytes(EPS)
    for file in (tmp_path / "0.png", io.BytesIO(EPS)):
        with pytest.raises(StudyError, match=r"not an image that can be read .* must be PNG, JPEG"), open_image(file):
            pytest.fail("the image was opened")


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(side: int, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png_header(side, side))
    assert side * side > MAX_PIXELS
    with pytest.raises(StudyError, match=r"large.png: .*pixels"), open_image(tmp_path / "large.png"):
        pytest.fail("the image was opened")


def test_damage_found_while_decoding_is_the_users_mistake_too(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(png_header(6, 6))
    with pytest.raises(StudyError, match=r"cut.png: not an image that can be read"), open_image(tmp_path / "cut.png"):
        pytest.fail("the image was opened")


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(StudyError, match=r"pipe.png: is a named pipe"), open_image(tmp_path / "pipe.png"):
        pytest.fail("the pipe was opened")


def test_a_mistake_of_our_own_inside_the_block_is_not_hidden(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(KeyError), open_image(tmp_path / "a.png"):
        {}["absent"]
