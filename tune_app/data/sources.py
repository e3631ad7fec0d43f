"""Sources of images: one registry from a source's name to what reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from search_spaces.errors import StudyError, nearest
from search_spaces.trial import DataConfig
from tune_app.data.arrays import ImageArrays
from tune_app.data.digits import load_digits
from tune_app.data.synthetic import make_synthetic

SOURCES: Mapping[str, Callable[[DataConfig, Path | None], ImageArrays]] = {
    "digits": lambda config, cache: load_digits(config),
    "synthetic": lambda config, cache: make_synthetic(config),
}


def load_source(config: DataConfig, cache_dir: Path | None = None) -> ImageArrays:
    """Return the images of the source that ``config`` names."""
    if config.source not in SOURCES:
        raise StudyError(f"`data.source` is {config.source!r}{nearest(config.source, SOURCES)}")
    return SOURCES[config.source](config, cache_dir)


def source_key(config: DataConfig) -> str:
    """Return a text that is equal for configs that read the same images."""
    return config.source
