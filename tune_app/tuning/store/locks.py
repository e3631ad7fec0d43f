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
from search_spaces.files import require_writable_place
from tune_app.storage import Folder
from tune_app.tuning.store.lease import Lease

LOCK, HOLDER = ".lock", ".holder"


@contextmanager
def hold(folder: Folder) -> Iterator[Lease]:
    """Hold a store for this run; StudyError that says who holds it where another run does.

    On a local disk the operating system releases a lock when its process ends, however it ends, so a killed run blocks
    nobody there. The lease says the same to other machines, on a shared disk or an object store.
    """
    with _locked(folder):
        lease = Lease(folder)
        lease.acquire()
        lease.keep()
        try:
            yield lease
        finally:
            lease.release()


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    if not folder.is_local:
        yield
        return
    root = Path(folder.root)
    require_writable_place(root / LOCK)  # taking the lock empties the file, so it must not be a link to another
    lock = FileLock(root / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        who = folder.read(HOLDER).decode(errors="replace") if folder.exists(HOLDER) else "another process"
        raise StudyError(f"{folder.url} is in use by {who}; wait until that run ends, or stop it") from None
    try:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        folder.write(HOLDER, f"process {os.getpid()} on {socket.gethostname()}, since {now}".encode())
        yield
    finally:
        folder.remove(HOLDER)
        lock.release()
