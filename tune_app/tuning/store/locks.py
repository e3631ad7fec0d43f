"""One run at a time for each results store."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from search_spaces.errors import StudyError
from search_spaces.files import require_writable_place
from tune_app.storage import Folder
from tune_app.tuning.store.lease import Lease, is_held_here, is_there, read_lease

LOCK, HOLDER = ".lock", ".holder"
_WHO = re.compile(r"process (\d{1,9}) on (\S+), since")


@contextmanager
def hold(folder: Folder) -> Iterator[Lease]:
    """Hold a store for this run; StudyError that says who holds it where another run does.

    On a local disk the operating system releases a lock when its process ends, however it ends, so a killed run blocks
    nobody there. The lease says the same to other machines, on a shared disk or an object store.
    """
    with _locked(folder):
        lease = Lease(folder)
        try:
            lease.acquire()
            lease.keep()
            yield lease
        finally:
            lease.release()


def holder_here(folder: Folder) -> str | None:
    """Return who holds a store where that is a run of this machine and container which has not ended, else None.

    The lease says so; a run that has none yet is named beside the lock. A run elsewhere cannot be asked whether it goes
    on: where it does, `hold` refuses.
    """
    lease = read_lease(folder)
    if lease is not None:
        return str(lease.get("who", "another run")) if is_held_here(lease) else None
    try:
        text = folder.read(HOLDER).decode(errors="replace")
    except (OSError, StudyError):
        return None
    match = _WHO.match(text)
    return text if match and match[2] == socket.gethostname() and is_there(int(match[1])) else None


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
