"""Computed answers, kept by a key that names their version: what many clients ask for is computed once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable


class Cache:
    """The bytes of the latest answers, up to a total size. A key must change whenever the answer does."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._size = most_bytes, 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._computing: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Return the answer of a key; the first to ask computes it while others wait for it."""
        with self._lock:
            if (found := self._found(key)) is not None:
                return found
            computing = self._computing.setdefault(key, threading.Lock())
        with computing:
            with self._lock:
                if (found := self._found(key)) is not None:
                    return found
            try:
                made = make()
            finally:
                with self._lock:
                    self._computing.pop(key, None)
            with self._lock:
                self._keep(key, made)
            return made

    def _found(self, key: str) -> bytes | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _keep(self, key: str, answer: bytes) -> None:
        self._size += len(answer) - len(self._kept.get(key, b""))
        self._kept[key] = answer
        self._kept.move_to_end(key)
        while self._size > self._most and self._kept:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)
