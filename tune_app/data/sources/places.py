"""Folders of a source: its location, and the cache for downloads and decoded images."""

from __future__ import annotations

import os
from pathlib import Path

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError

ROOT_VARIABLE = "TUNE_APP_DATA"


def cache_folder() -> Path:
    """Return the folder for downloads and decoded images: ``$TUNE_APP_DATA``, or ``~/.cache/tune-app``."""
    return Path(os.environ.get(ROOT_VARIABLE) or "~/.cache/tune-app").expanduser().absolute()


def named_folder(config: DataConfig) -> Path:
    """Return the folder that ``data.path`` names, absolute; StudyError where it names none."""
    if config.path is None:
        raise StudyError(
            f"`data.path` is null, but a {config.source} source is read from a folder: give the path of the folder"
        )
    folder = Path(config.path).expanduser().resolve()
    if not folder.is_dir():
        raise StudyError(f"`data.path` is {config.path!r}, but there is no folder {folder}: correct the path")
    return folder
