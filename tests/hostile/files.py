"""Hostile images and matrices, for `augmentations`, `factorize` and the data sources of `plan`."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from hostile.corpus import Case, Setup


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that promises a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def npy(shape: tuple[int, ...], descr: str = "<f8", body: bytes = bytes(64)) -> bytes:
    """Return a .npy file whose header promises what the file does not hold."""
    sink = io.BytesIO()
    np.lib.format.write_array_header_1_0(sink, {"descr": descr, "fortran_order": False, "shape": shape})
    return sink.getvalue() + body


def _png() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (12, 9), (1, 2, 3)).save(sink, "PNG")
    return sink.getvalue()


def _parquet(**columns: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def images() -> Mapping[str, bytes]:
    """Return hostile image files by what they are."""
    whole = _png()
    return {
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\nshowpage\n",
        "PDF": b"%PDF-1.7\n",
        "XPM": b'/* XPM */\nstatic char *x[] = {"1 1 1 1", "a c #000000", "a"};',
        "PPM": b"P6 1 1 255\n\0\0\0",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "nothing": b"",
        "zeros": bytes(100),
        "many pixels": png_header(60_000, 60_000),
        "more pixels than an int": png_header(2**31 - 1, 2**31 - 1),
        "no pixels": png_header(0, 0),
        "an empty body": png_header(6, 6),
        "cut": whole[: len(whole) // 2],
        "damaged": whole[:40] + b"xxxx" + whole[44:],
        "a GIF without frames": b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
        "a TIFF with a loop": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
        "one pixel": png_header(1, 1),
    }


def matrices() -> Mapping[str, bytes]:
    """Return hostile matrix files by name."""
    return {
        "terabytes.npy": npy((1_000_000, 1_000_000)),
        "overflow.npy": npy((10**30, 2)),
        "wide.npy": npy((2, 2), "V1000000000"),
        "objects.npy": npy((1, 1), "|O"),
        "names.npy": npy((2, 2), "<U1000000"),
        "negative.npy": npy((-1, 5)),
        "none.npy": npy((0, 5)),
        "cube.npy": npy((2, 2, 2)),
        "magic.npy": b"\x93NUMPY\x09\x00",
        "header.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{",
        "nothing.npy": b"",
        "long.csv": b"1," * 2_000_000,
        "text.csv": b"a,b\n=cmd|x,1\n",
        "binary.csv": bytes(range(256)),
        "quotes.csv": b'"' * 100_000,
        "nan.csv": b"nan,nan\nnan,nan\n",
        "inf.csv": b"inf,1\n1,1\n",
        "large.csv": b"1e308,1e308\n1e308,1e300\n",
        "nothing.csv": b"",
        "rows.parquet": _parquet(a=pa.nulls(40_000_000, pa.float64())),
        "text.parquet": _parquet(a=["x"]),
        "cut.parquet": _parquet(a=[1.0])[:-8],
        "magic.parquet": b"PAR1" + bytes(100) + b"PAR1",
        "footer.parquet": b"PAR1\xff\xff\xff\x7fPAR1",
        "x.pickle": b"cos\nsystem\n(S'true'\ntR.",
    }


def _write(name: str, content: bytes) -> Setup:
    return lambda folder: (folder / name).write_bytes(content) and None


def _source(kind: str, name: str, content: bytes) -> Setup:
    def setup(folder: Path) -> None:
        for split in ("train", "test"):
            for label in ("a", "b"):
                place = folder / "data" / split / label
                place.mkdir(parents=True)
                (place / name).write_bytes(content)
            if kind == "parquet":
                (folder / "data" / f"{split}.parquet").write_bytes(content)
        study = {
            "name": "x",
            "factors": {"model.norm": ["none"]},
            "baseline": {"data": {"source": kind, "path": "data"}},
        }
        (folder / "s.yaml").write_text(yaml.safe_dump(study))

    return setup


def _pipe(name: str) -> Setup:
    return lambda folder: os.mkfifo(folder / name)


def file_cases() -> Iterator[Case]:
    """Yield each file for each verb that reads such a file."""
    for name, content in images().items():
        yield Case(f"augmentations {name}", ("augmentations", "x.png"), _write("x.png", content))
        yield Case(f"factorize --image {name}", ("factorize", "--image", "x.png"), _write("x.png", content))
        yield Case(f"folder source {name}", ("plan", "s.yaml", "--no-time"), _source("folder", "0.png", content))
    for name, content in matrices().items():
        yield Case(f"factorize --matrix {name}", ("factorize", "--matrix", name), _write(name, content))
        if name.endswith(".parquet"):
            yield Case(f"parquet source {name}", ("plan", "s.yaml", "--no-time"), _source("parquet", "x", content))
    yield Case("augmentations of a pipe", ("augmentations", "x.png"), _pipe("x.png"))
    yield Case("factorize of an image pipe", ("factorize", "--image", "x.png"), _pipe("x.png"))
    yield Case("factorize of a pipe", ("factorize", "--matrix", "x.npy"), _pipe("x.npy"))
    yield Case("validate a pipe", ("validate", "s.yaml"), _pipe("s.yaml"))
    yield Case("augmentations to a bad ending", ("augmentations", "--sample", "--out", "x.exe"))
    yield Case("augmentations of /dev/zero", ("augmentations", "/dev/zero"))
