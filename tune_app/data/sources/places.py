"""Folders of a source."""

from __future__ import annotations

from pathlib import Path

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError, shown
from tune_app.cache_folder import resolved


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
