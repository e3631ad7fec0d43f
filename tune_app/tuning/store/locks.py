"""One run at a time for each results store."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from search_spaces.errors import StudyError
from tune_app.storage import Folder

LOCK, HOLDER = ".lock", ".holder"


@contextmanager
def hold(folder: Folder) -> Iterator[None]:
    """Hold a store for this run; StudyError that says who holds it where another run does.

    The operating system lets go of the lock when its process ends, however it ends, so a killed run blocks nobody. On
    an object store there is no such lock: cells are addressed by digest, so two runs there spoil nothing.
    """
    if not folder.is_local:
        yield
        return
    root = Path(folder.root)
    lock = FileLock(root / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        who = (root / HOLDER).read_text() if (root / HOLDER).exists() else "another process"
        raise StudyError(f"{folder.url} is in use by {who}; wait until that run ends, or stop it") from None
    try:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        folder.write(HOLDER, f"process {os.getpid()} on {socket.gethostname()}, since {now}".encode())
        yield
    finally:
        folder.remove(HOLDER)
        lock.release()
