"""Folders of a source: its location, and the cache for downloads and decoded images."""

from __future__ import annotations

import os
from pathlib import Path

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError, shown

ROOT_VARIABLE = "TUNE_APP_DATA"


def cache_folder() -> Path:
    """Return the folder for downloads and decoded images: ``$TUNE_APP_DATA``, or ``~/.cache/tune-app``."""
    return resolved(os.environ.get(ROOT_VARIABLE) or "~/.cache/tune-app", ROOT_VARIABLE)


def resolved(path: str, place: str = "`data.path`") -> Path:
    """Return a path absolute, ``~`` and links replaced; StudyError where it cannot be one, such as ``~nosuchuser``."""
    try:
        found = Path(path).expanduser().resolve()
        found.exists()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StudyError(f"{place} is {shown(path)}, which is not a usable path: {reason}") from None
    return found


def named_folder(config: DataConfig) -> Path:
    """Return the folder that ``data.path`` names, absolute; StudyError where it names none."""
    if config.path is None:
        raise StudyError(
            f"`data.path` is null, but a {config.source} source is read from a folder: give the path of the folder"
        )
    folder = resolved(config.path)
    if not folder.is_dir():
        raise StudyError(f"`data.path` is {shown(config.path)}, but there is no folder {folder}: correct the path")
    return folder
