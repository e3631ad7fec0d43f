"""Sources of images: one registry from a source's name to what reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError, nearest
from tune_app.data.arrays import ImageArrays
from tune_app.data.sources.digits import load_digits
from tune_app.data.sources.downloads import read_download
from tune_app.data.sources.image_folder import read_image_folder
from tune_app.data.sources.parquet import read_parquet
from tune_app.data.sources.places import kept_folder, resolved
from tune_app.data.sources.synthetic import make_synthetic


@dataclass(frozen=True)
class Source:
    """What reads a source, given the folder for what is downloaded or decoded."""

    load: Callable[[DataConfig, Path], ImageArrays]
    has_path: bool = False
    resizes: bool = False  # whether images are resized as they are decoded; otherwise the loaders do it


SOURCES: Mapping[str, Source] = {
    "digits": Source(load_digits),
    "cifar10": Source(read_download, has_path=True),
    "cifar100": Source(read_download, has_path=True),
    "fashion_mnist": Source(read_download, has_path=True),
    "parquet": Source(read_parquet, has_path=True, resizes=True),
    "folder": Source(read_image_folder, has_path=True, resizes=True),
    "synthetic": Source(make_synthetic),
}


def load_source(config: DataConfig, cache_dir: Path | None = None) -> ImageArrays:
    """Return the images of the source that ``config`` names, all of them: ``make_splits`` chooses.

    What is downloaded or decoded on the way is kept in ``cache_dir``, or else in the folder that the environment
    variable TUNE_APP_DATA names, or else in ``~/.cache/tune-app``.

    Raises StudyError, with the file, the row and the remedy, for data that cannot be had or used.
    """
    return _source(config).load(config, kept_folder() if cache_dir is None else cache_dir)


def source_key(config: DataConfig) -> str:
    """Return a text that is equal for configs that read the same arrays: "digits", "parquet:/the/folder@64".

    The resolution after the @ is part of it where images are resized as they are decoded.
    """
    source = _source(config)
    key: str = config.source
    if source.has_path and config.path is not None:
        key += f":{resolved(config.path)}"
    if source.resizes and config.resolution is not None:
        key += f"@{config.resolution}"
    return key


def _source(config: DataConfig) -> Source:
    if config.source not in SOURCES:
        raise StudyError(
            f"`data.source` is {config.source!r}, but must be one of {', '.join(SOURCES)}"
            f"{nearest(config.source, SOURCES)}"
        )
    return SOURCES[config.source]
