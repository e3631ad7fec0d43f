"""CIFAR-10, CIFAR-100 and Fashion-MNIST, downloaded by torchvision once per machine."""

from __future__ import annotations

import os
import pickle
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.data.arrays import ImageArrays, image_arrays
from tune_app.data.sources.places import ROOT_VARIABLE, resolved

TORCHVISION_NAMES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}
_UNREADABLE = (RuntimeError, OSError, ValueError, EOFError, AssertionError, pickle.UnpicklingError)


def read_download(config: DataConfig, kept: Path) -> ImageArrays:
    """Return the images of a torchvision data set, from ``data.path`` or else from ``kept``.

    What is not there is downloaded, by one process at a time; torchvision checks the files' checksums. A folder that
    cannot be written must hold the data set already. Raises StudyError where it cannot be had.
    """
    name = TORCHVISION_NAMES[config.source]
    folder = download_folder(config, kept)
    try:
        with _lock(folder):
            train, test = _open(name, folder, train=True), _open(name, folder, train=False)
    except _UNREADABLE as error:
        command = f"from torchvision.datasets import {name}; {name}({str(folder)!r}, download=True)"
        raise StudyError(
            f"{name} cannot be read from {folder}, nor downloaded to it ({error}). Where there is a network, run\n"
            f'    python -c "{command}"\n'
            f"and copy the folder here, or name one that has it with `data.path` or {ROOT_VARIABLE}"
        ) from None
    return image_arrays(*_content(train), *_content(test), tuple(train.classes))


def download_folder(config: DataConfig, kept: Path) -> Path:
    """Return the folder that a torchvision data set is read from and downloaded to."""
    return resolved(config.path) if config.path else kept / "torchvision"


def _lock(folder: Path) -> AbstractContextManager[object]:
    """Return a lock among this machine's processes; none for a folder that nobody can change."""
    if folder.is_dir() and not os.access(folder, os.W_OK):
        return nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")


def _open(name: str, folder: Path, *, train: bool) -> Any:
    import torchvision.datasets as datasets  # takes a second

    return getattr(datasets, name)(folder, train=train, download=True)


def _content(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    images = np.asarray(dataset.data)
    return images if images.ndim == 4 else images[..., None], np.asarray(dataset.targets, dtype=np.int64)
