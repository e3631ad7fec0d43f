"""What a matrix must be before it is factorized, and how one is read from a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from search_spaces.errors import StudyError
from search_spaces.files import require_regular
from search_spaces.images import open_image

Matrix = NDArray[np.float64]
LARGEST = 1e60
"""Cells must lie below this, and the largest above its inverse: sums of fourth powers must be float64 numbers."""
MAX_CELLS = 16_000_000
"""Cells of a matrix or pixels of an image that are read: 128 MB as float64, several times that while they are used."""
MAX_CSV_BYTES = 25 * MAX_CELLS
MAX_COLUMNS = 50_000
"""Columns of a table in CSV or Parquet: pandas takes 30 microseconds for each. A .npy has no such limit."""


def as_matrix(values: object, name: str = "the matrix") -> Matrix:
    """Return ``values`` as a float64 m x n matrix; NaN marks a missing cell.

    Raises StudyError where it is not two-dimensional, is empty, holds something other than numbers, or infinity.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise StudyError(f"{name} holds {array.dtype} values, but must hold real numbers")
    if array.ndim != 2:
        raise StudyError(f"{name} has {array.ndim} dimension(s), but must have 2: rows and columns")
    if array.size == 0:
        raise StudyError(f"{name} is {array.shape[0]} x {array.shape[1]}, but must have at least one cell")
    matrix = array.astype(np.float64)
    if np.isinf(matrix).any():
        row, column = np.argwhere(np.isinf(matrix))[0]
        raise StudyError(f"{name} is infinite at row {row}, column {column}; mark a missing cell by NaN")
    largest = float(np.nanmax(np.abs(matrix), initial=0.0))
    if largest and not 1 / LARGEST < largest < LARGEST:
        raise StudyError(f"{name} has {largest:.1e} as its largest size, whose powers leave float64; scale it first")
    return matrix


def require_complete(values: object, name: str = "the matrix") -> Matrix:
    """Return ``values`` as a matrix without missing cells; StudyError where it has some."""
    matrix = as_matrix(values, name)
    if missing := int(np.isnan(matrix).sum()):
        raise StudyError(
            f"{name} has {missing} missing cell(s) of {matrix.size}; fill them with `complete`, or leave those rows out"
        )
    return matrix


def require_rank(X: Matrix, rank: int, least: int = 1) -> None:
    """Raise StudyError unless ``rank`` lies between ``least`` and the smaller side of ``X``."""
    if not least <= rank <= min(X.shape):
        m, n = X.shape
        raise StudyError(f"rank is {rank}, but must be {least} to {min(m, n)} for a {m} x {n} matrix")


def read_matrix(path: str | Path) -> Matrix:
    """Return the matrix in a .npy, .csv or .parquet file; NaN or an empty CSV field is a missing cell.

    A CSV's first line is a header if one of its fields is not a number. Raises StudyError for what is not a matrix.
    """
    path = Path(path)
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise StudyError(f"{path} is not a matrix file: its name must end in {', '.join(_READERS)}")
    require_regular(path)
    if not path.is_file():
        raise StudyError(f"{path} does not exist or is not a file")
    try:
        values = read(path)
    except StudyError:
        raise
    except (
        ValueError,
        OSError,
        OverflowError,
    ) as error:  # what numpy, pandas and pyarrow raise for a file they cannot read
        raise StudyError(f"{path} cannot be read as {path.suffix} file: {error}") from error
    return as_matrix(values, str(path))


def read_image(path: str | Path) -> Matrix:
    """Return an image as height x width luminance (ITU-R 601), 0 to 1; StudyError where it cannot be read."""
    with open_image(Path(path), max_pixels=MAX_CELLS) as image:
        if image.mode.startswith("I;16"):
            return np.asarray(image, dtype=np.float64) / 65535
        red_green_blue = np.asarray(image.convert("RGB"), dtype=np.float32)
    luminance: Matrix = red_green_blue @ np.array([0.299, 0.587, 0.114]) / 255
    return luminance


def _read_npy(path: Path) -> object:
    """Return the array; the size in its header is checked against the limit and the file before it is read."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    cells = math.prod(shape)
    _require_cells(cells, path)
    if cells * dtype.itemsize > path.stat().st_size and not dtype.hasobject:
        raise StudyError(f"{path} is damaged: its header promises {cells:,} cells, more than the file holds")
    return np.load(path, allow_pickle=False)


def _require_cells(cells: int, path: Path) -> None:
    if cells > MAX_CELLS:
        raise StudyError(f"{path} has {cells:,} cells, but at most {MAX_CELLS:,} are read: take a part of the matrix")


def _require_columns(columns: int, path: Path) -> None:
    if columns > MAX_COLUMNS:
        raise StudyError(
            f"{path} has {columns:,} columns, but at most {MAX_COLUMNS:,} are read from such a file: exchange rows and "
            "columns, or save it as .npy"
        )


def _read_csv(path: Path) -> object:
    size = path.stat().st_size
    if size > MAX_CSV_BYTES:
        raise StudyError(
            f"{path} has {size:,} bytes, but at most {MAX_CSV_BYTES:,} are read: take a part of the matrix"
        )
    with path.open(encoding="utf-8") as file:
        first = file.readline().rstrip("\r\n").split(",")
    _require_columns(len(first), path)
    header = None if all(_is_number(field) for field in first) else 0
    return _numbers(pd.read_csv(path, header=header), path)


def _read_parquet(path: Path) -> object:
    shape = pq.read_metadata(path)
    _require_cells(shape.num_rows * shape.num_columns, path)
    _require_columns(shape.num_columns, path)
    return _numbers(pd.read_parquet(path), path)


def _numbers(frame: pd.DataFrame, path: Path) -> object:
    others = [str(name) for name, column in frame.items() if not pd.api.types.is_numeric_dtype(column)]
    if others:
        raise StudyError(f"{path}: column(s) {', '.join(others)} do not hold numbers; leave them out")
    return frame.to_numpy(dtype=np.float64, na_value=np.nan)


def _is_number(field: str) -> bool:
    try:
        float(field or "nan")
    except ValueError:
        return False
    return True


_READERS: dict[str, Callable[[Path], object]] = {".npy": _read_npy, ".csv": _read_csv, ".parquet": _read_parquet}
