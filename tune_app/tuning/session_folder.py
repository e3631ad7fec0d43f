"""The folder of a Ray that this program starts: private, with a token of its own, and removed at the end."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from search_spaces.errors import StudyError

PREFIX = "ta-"
LONGEST_PARENT = 28
"""The path of a Unix socket has at most 107 bytes, of which Ray's session and ours take the rest."""
_LOCK, _TOKEN = "lock", "token"


@contextmanager
def session_folder() -> Iterator[Path]:
    """Make a folder that only this user can enter, and yield the one inside it for Ray; it is removed at the end.

    Ray opens its own folder to every user of the machine (mode 0777), so a private one has to be around it. Folders of
    runs that were killed are removed first. The parent is RAY_TMPDIR, or /tmp where that is not set or too long.
    """
    parent = _parent()
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # mode 0700
    lock = FileLock(folder / _LOCK)
    with lock:
        try:
            inner = folder / "r"
            inner.mkdir()
            yield inner
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of runs of this user that are there no more. A running one holds its lock."""
    for folder in parent.glob(f"{PREFIX}*"):
        found = folder.lstat() if folder.exists() else None
        if found is None or not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            continue
        if not (folder / _LOCK).exists():
            continue  # not made by us, or just being made
        try:
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue


@contextmanager
def own_token(folder: Path) -> Iterator[None]:
    """Let the Ray that is started inside ask for a new token, in a file of mode 0600; a mode that is set is respected.

    By default Ray uses one token for every cluster of a user and writes it readable by everyone.
    """
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN")
    if any(name in os.environ for name in names):
        yield
        return
    path = folder.parent / _TOKEN
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(path))
    _forget_token()
    try:
        yield
    finally:
        for name in names[:2]:
            os.environ.pop(name, None)
        _forget_token()


def _forget_token() -> None:
    """Let Ray read mode and token from the environment again: it keeps both."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _parent() -> Path:
    wanted = os.environ.get("RAY_TMPDIR", "")
    parent = Path(wanted if 0 < len(wanted) <= LONGEST_PARENT and Path(wanted).is_dir() else "/tmp")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise StudyError(f"{parent} cannot be written, but Ray needs a folder there: set RAY_TMPDIR to a short path")
    return parent
