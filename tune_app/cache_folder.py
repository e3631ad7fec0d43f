"""The folder for what can be downloaded or computed again."""

from __future__ import annotations

import os
from pathlib import Path

from search_spaces.errors import StudyError, shown

ROOT_VARIABLE = "TUNE_APP_DATA"


def cache_folder() -> Path:
    """Return the folder for downloads and what can be computed again.

    It is ``$TUNE_APP_DATA``, or ``tune-app`` among the user's caches (``$XDG_CACHE_HOME``, or ``~/.cache``).
    """
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return resolved(os.environ.get(ROOT_VARIABLE) or f"{caches}/tune-app", ROOT_VARIABLE)


def resolved(path: str, place: str = "`data.path`") -> Path:
    """Return a path absolute, ``~`` and links replaced; StudyError where it cannot be one, such as ``~nosuchuser``."""
    try:
        found = Path(path).expanduser().resolve()
        found.exists()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StudyError(f"{place} is {shown(path)}, which is not a usable path: {reason}") from None
    return found
