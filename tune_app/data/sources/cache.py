"""Decoded images cached on disk, so that a source is decoded once per machine."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock

from search_spaces.errors import StudyError
from tune_app.cache_folder import ROOT_VARIABLE
from tune_app.data.arrays import ImageArrays, image_arrays

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_log = logging.getLogger(__name__)


def cached(folder: Path, decode: Callable[[], ImageArrays]) -> ImageArrays:
    """Return the arrays cached in ``folder``, memory-mapped and read-only; if there are none, decode and cache them.

    The fingerprint is computed again from the arrays that were read; damaged files are replaced. One process at a time
    decodes. Raises StudyError for a folder that cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            arrays = _read(folder)
            if arrays is None:
                _write(folder, decode())
                arrays = _read(folder)
    except OSError as error:
        raise StudyError(
            f"{folder}: decoded images cannot be cached there ({error}): "
            f"set {ROOT_VARIABLE} to a writable folder with enough free space"
        ) from None
    assert arrays is not None
    return arrays


def _read(folder: Path) -> ImageArrays | None:
    """Return the cached arrays, or None if they are missing or damaged."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return None
    try:
        recorded = json.loads(manifest.read_bytes())
        # A plain array over the memory map: it is shared like any other, also by pickling.
        train_images, train_labels, test_images, test_labels = (
            np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in _ARRAYS
        )
        classes, validation = tuple(recorded["classes"]), recorded.get("validation", 0)
        arrays = image_arrays(train_images, train_labels, test_images, test_labels, classes, validation)
    except (OSError, ValueError, KeyError, TypeError, EOFError, AssertionError) as error:
        _log.warning("%s: damaged (%s), decoding again", folder, error)
        return None
    if arrays.fingerprint != recorded["fingerprint"]:
        _log.warning("%s: damaged (its fingerprint differs), decoding again", folder)
        return None
    return arrays


def _write(folder: Path, arrays: ImageArrays) -> None:
    """Write the arrays, and the manifest, which makes them valid, last."""
    for name in _ARRAYS:
        _put(folder / f"{name}.npy", partial(np.save, arr=getattr(arrays, name)))
    manifest = {"classes": arrays.classes, "fingerprint": arrays.fingerprint, "validation": arrays.validation}
    _put(folder / "manifest.json", lambda file: file.write(json.dumps(manifest).encode()))


def _put(target: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file atomically: under a temporary name, then renamed."""
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        Path(temporary).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
