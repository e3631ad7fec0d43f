"""CIFAR-10, CIFAR-100 and Fashion-MNIST, downloaded by torchvision once per machine."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.cache_folder import ROOT_VARIABLE, resolved
from tune_app.data.arrays import ImageArrays, image_arrays

TORCHVISION_NAMES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}
SOCKET_SECONDS = 60.0
_UNREADABLE = (RuntimeError, OSError, ValueError, EOFError, AssertionError, pickle.UnpicklingError)


def read_download(config: DataConfig, cache_dir: Path) -> ImageArrays:
    """Return the images of a torchvision data set, from ``data.path`` or else from ``cache_dir``.

    Missing files are downloaded, by one process at a time; torchvision verifies their checksums. A folder that is not
    writable must contain the data set already. Raises StudyError if the data set cannot be read or downloaded.
    """
    name = TORCHVISION_NAMES[config.source]
    folder = download_folder(config, cache_dir)
    try:
        with _lock(folder):
            train, test = _open(name, folder, train=True), _open(name, folder, train=False)
    except _UNREADABLE as error:
        command = f"from torchvision.datasets import {name}; {name}({str(folder)!r}, download=True)"
        raise StudyError(
            f"{name} cannot be read from {folder}, nor downloaded to it ({error}). On a machine with a network, run\n"
            f'    python -c "{command}"\n'
            f"and copy the folder here, or give the path of a folder that has it with `data.path` or {ROOT_VARIABLE}"
        ) from None
    return image_arrays(*_content(train), *_content(test), tuple(train.classes))


def download_folder(config: DataConfig, cache_dir: Path) -> Path:
    """Return the folder that a torchvision data set is read from and downloaded to."""
    return resolved(config.path) if config.path else cache_dir / "torchvision"


@contextmanager
def answering() -> Iterator[None]:
    """Let a connection that is opened inside fail when nothing comes for SOCKET_SECONDS: torchvision sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SOCKET_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _lock(folder: Path) -> AbstractContextManager[object]:
    """Return a lock between the processes of this machine; a null context for a read-only folder."""
    if folder.is_dir() and not os.access(folder, os.W_OK):
        return nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")


def _open(name: str, folder: Path, *, train: bool) -> Any:
    import torchvision.datasets as datasets  # takes a second

    with answering():
        return getattr(datasets, name)(folder, train=train, download=True)


def _content(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    images = np.asarray(dataset.data)
    return images if images.ndim == 4 else images[..., None], np.asarray(dataset.targets, dtype=np.int64)
