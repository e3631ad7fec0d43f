"""SIGTERM as Ctrl-C, at once or a little later. Without Ray, which a run of a finished study does not import."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def termination_is_interruption() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt inside, as Ctrl-C does. It does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # SIGINT may be ignored, as in a script's background job

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def interruption_at_the_end() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back, and raise KeyboardInterrupt at the end instead; a second signal raises it at once.

    For the start of Ray. An exception that a signal handler raises is lost where Python was in a callback, such as that
    of a fork; and raised within an import it can leave the import lock taken, so that other threads wait for ever. An
    error inside counts as the interruption where one was asked for. It does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        os.write(2, b"\nstopping once Ray has started; Ctrl-C again stops at once\n")

    numbers = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except Exception:
        if not asked:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise KeyboardInterrupt
