"""Sources of images: the registry from a source's name to its reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from search_spaces.config.base import is_reference
from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError, nearest
from tune_app.cache_folder import cache_folder, resolved
from tune_app.data.arrays import ImageArrays
from tune_app.data.sources.digits import load_digits
from tune_app.data.sources.downloads import read_download
from tune_app.data.sources.image_folder import read_image_folder
from tune_app.data.sources.own import read_own
from tune_app.data.sources.parquet import read_parquet
from tune_app.data.sources.synthetic import make_synthetic
from tune_app.user_code import CodeSource, is_adapter


@dataclass(frozen=True)
class Source:
    """A reader of a source: ``load(config, cache folder)``, and which config fields it uses."""

    load: Callable[[DataConfig, Path], ImageArrays]
    has_path: bool = False
    resizes: bool = False  # whether images are resized during decoding; otherwise the loaders resize them


SOURCES: Mapping[str, Source] = {
    "digits": Source(load_digits),
    "cifar10": Source(read_download, has_path=True),
    "cifar100": Source(read_download, has_path=True),
    "fashion_mnist": Source(read_download, has_path=True),
    "parquet": Source(read_parquet, has_path=True, resizes=True),
    "folder": Source(read_image_folder, has_path=True, resizes=True),
    "synthetic": Source(make_synthetic),
}


def load_source(config: DataConfig, cache_dir: Path | None = None, code: CodeSource | None = None) -> ImageArrays:
    """Return all images of the source that ``config`` names; ``make_splits`` selects from them.

    Downloaded and decoded files are cached in ``cache_dir``, or else in the folder that the environment variable
    TUNE_APP_DATA names, or else `tune_app.cache_folder.cache_folder`. ``code`` says where a function of
    the user's own is imported from; a child process calls it.

    Raises StudyError, with the file, the row and the remedy, for data that cannot be found or used.
    """
    cache = cache_folder() if cache_dir is None else cache_dir
    if is_reference(config.source):
        return read_own(config, cache, code or CodeSource())
    return _source(config).load(config, cache)


def source_key(config: DataConfig) -> str:
    """Return a key that is equal for configs that read the same arrays: "digits", "parquet:/the/folder@64".

    The resolution after the @ is included for sources that resize images during decoding. A reference comes with its
    arguments: 'my_pkg.data:load {"n": 5000}'.
    """
    if is_reference(config.source):
        resized = f"@{config.resolution}" if is_adapter(config.source) and config.resolution is not None else ""
        return f"{config.source} {json.dumps(config.args, sort_keys=True)}{resized}"
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
