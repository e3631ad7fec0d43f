"""What happens when something takes long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def if_longer_than(seconds: float | None, act: Callable[[], None]) -> Iterator[None]:
    """Call ``act``, once and in a thread of its own, when what is done inside takes longer; None: never."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
