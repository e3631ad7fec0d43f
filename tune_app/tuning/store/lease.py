"""A lease on a results store: the right to write it, for one run, on disks and object stores that several machines see.

The lease is a file that its holder renews. A run that finds one of another run waits: a lease that is renewed meanwhile
is in use, one that stays as it is for EXPIRY_SECONDS has expired and is taken over. No clock is compared with that of
another machine. On S3 the file is created and replaced by conditional requests (If-None-Match, If-Match), so of two
runs that try at the same time one succeeds.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from search_spaces.errors import StudyError
from tune_app.storage import Folder, StorageError

LEASE = ".lease"
EXPIRY_SECONDS, RENEW_SECONDS, LOOK_SECONDS = 60.0, 15.0, 3.0
FRESH_SECONDS = 5.0
"""A row is written under a lease that was renewed so recently; else it is renewed first."""
_log = logging.getLogger(__name__)


class Lease:
    """The lease of one run on one store. Use `acquire`, then `require` before what only its holder may write."""

    def __init__(self, folder: Folder, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._token = secrets.token_hex(16)
        self._since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        self._count = 0
        self._version: str | None = None
        self._renewed = clock()
        self._lost = ""
        self._guard = threading.Lock()
        self._ended = threading.Event()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out everything: Ray saves copies of what refers to a store, and a copy has no lease."""
        return {}

    @property
    def who(self) -> str:
        """This run, in words."""
        return f"process {os.getpid()} on {socket.gethostname()}, since {self._since}"

    def acquire(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Take the lease; StudyError that says who holds it where another run renews it."""
        seen, began = b"", self._clock()
        while not self._folder.create(LEASE, self._content()):
            version = self._folder.version(LEASE)
            content = self._read()
            if content is None or self._token in content.decode(errors="replace"):
                if content is not None:
                    break  # the answer to our own request was lost
                continue
            other = _parsed(content)
            if seen and content != seen:
                who = other.get("who", "another run")
                raise StudyError(f"{self._folder.url} is in use by {who}; wait until that run ends, or stop it")
            if not seen:
                seen = content
                _log.warning(
                    "%s has a lease of %s; if that run has ended, its lease expires in %.0f s: waiting",
                    *(self._folder.url, other.get("who", "another run"), EXPIRY_SECONDS),
                )
            if _has_ended(other) or self._clock() - began > EXPIRY_SECONDS:
                if self._folder.replace(LEASE, self._content(), version):
                    break
                seen, began = b"", self._clock()
                continue
            sleep(LOOK_SECONDS)
        self._version, self._renewed = self._folder.version(LEASE), self._clock()
        if not self._is_ours():  # a server that ignores conditions
            raise StudyError(f"{self._folder.url} was taken by another run at the same moment; run again")

    def renew(self) -> None:
        """Renew the lease, and note where another run took it over; a store that does not answer is asked later."""
        with self._guard, suppress(StorageError):
            if self._lost:
                return
            self._count += 1
            if not self._folder.replace(LEASE, self._content(), self._version) and not self._is_ours():
                other = _parsed(self._read() or b"").get("who", "another run")
                self._lost = f"the lease on {self._folder.url} was taken over by {other}"
                return
            self._version, self._renewed = self._folder.version(LEASE), self._clock()

    def require(self) -> None:
        """Raise StorageError where another run has taken the store over."""
        if self._clock() - self._renewed > FRESH_SECONDS:
            self.renew()
        if self._lost:
            raise StorageError(self._lost)

    def keep(self) -> None:
        """Renew the lease now and then, in a thread, until `release`."""
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def release(self) -> None:
        """End the renewals, and remove the lease where it is still this run's."""
        self._ended.set()
        with self._guard, suppress(StorageError):
            if self._is_ours():
                self._folder.remove(LEASE)

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                self.renew()
            except OSError as error:  # a full disk: the next row says so
                _log.warning("the lease on %s was not renewed: %s", self._folder.url, error)

    def _content(self) -> bytes:
        process = {"host": socket.gethostname(), "space": _process_space(), "pid": os.getpid()}
        return json.dumps({"token": self._token, "who": self.who, "count": self._count, **process}).encode()

    def _read(self) -> bytes | None:
        try:
            return self._folder.read(LEASE)
        except FileNotFoundError:
            return None

    def _is_ours(self) -> bool:
        return self._token in (self._read() or b"").decode(errors="replace")


def _parsed(content: bytes) -> dict[str, Any]:
    """Return what a lease says; nothing for one that is damaged."""
    try:
        found = json.loads(content[:10_000])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_lease(folder: Folder) -> dict[str, Any] | None:
    """Return what a store's lease says; None where there is none, or no file that can be read."""
    try:
        return _parsed(folder.read(LEASE))
    except (OSError, StudyError):
        return None


def is_held_here(lease: dict[str, Any]) -> bool:
    """Return whether a lease's holder is a process of this machine and container that has not ended."""
    return _is_here(lease) and not _has_ended(lease)


def _is_here(other: dict[str, Any]) -> bool:
    here = socket.gethostname(), _process_space()
    return (other.get("host"), other.get("space")) == here and isinstance(other.get("pid"), int)


def _has_ended(other: dict[str, Any]) -> bool:
    """Return whether the holder was a process of this machine that is there no more."""
    return _is_here(other) and not is_there(other["pid"])


def is_there(pid: int) -> bool:
    """Return whether this machine has a process of this ID."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _process_space() -> str:
    """Return a name for what process IDs refer to: this boot of the machine, and the container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""
