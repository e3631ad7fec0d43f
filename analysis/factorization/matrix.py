"""What a matrix must be before it is factorized, and how one is read from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from search_spaces.errors import StudyError

Matrix = NDArray[np.float64]
LARGEST = 1e60
"""Cells must lie below this, and the largest above its inverse: sums of fourth powers must be float64 numbers."""


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
    if not path.is_file():
        raise StudyError(f"{path} does not exist or is not a file")
    try:
        values = read(path)
    except StudyError:
        raise
    except (ValueError, OSError) as error:  # what numpy, pandas and pyarrow raise for a file they cannot read
        raise StudyError(f"{path} cannot be read as {path.suffix} file: {error}") from error
    return as_matrix(values, str(path))


def read_image(path: str | Path) -> Matrix:
    """Return a picture as height x width luminance (ITU-R 601), 0 to 1; StudyError where it is none."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16"):
                return np.asarray(image, dtype=np.float64) / 65535
            red_green_blue = np.asarray(image.convert("RGB"), dtype=np.float64)
    except (UnidentifiedImageError, OSError) as error:
        raise StudyError(f"{path} is not a picture that can be read: {error}") from error
    luminance: Matrix = red_green_blue @ np.array([0.299, 0.587, 0.114]) / 255
    return luminance


def _read_npy(path: Path) -> object:
    return np.load(path, allow_pickle=False)


def _read_csv(path: Path) -> object:
    with path.open(encoding="utf-8") as file:
        first = file.readline().rstrip("\r\n").split(",")
    header = None if all(_is_number(field) for field in first) else 0
    return _numbers(pd.read_csv(path, header=header), path)


def _read_parquet(path: Path) -> object:
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
