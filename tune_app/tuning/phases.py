"""What a run does before its first trial, and how long each part took."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.status import Status

from tune_app.tuning.progress import duration

SHOWN_SECONDS = 0.1
"""Phases that are over in less than this are not shown where there is no terminal."""


class Phases:
    """Shows the phases of a run: in a terminal the present ones as they go on, and one line for each when it is over.

    Phases may overlap, and may begin and end in any thread.
    """

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to ``out``, standard output if not given; it is chosen when the first phase begins."""
        self._out, self._clock = out, clock
        self._present: dict[str, float] = {}
        self._lock = threading.Lock()
        self._console: Console | None = None
        self._status: Status | None = None
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show a phase while the block runs, such as "starting Ray"; its time is added to ``seconds`` at the end."""
        with self._lock:
            self._present[name] = self._clock()
            self._show()
        try:
            yield
        finally:
            with self._lock:
                self._end(name)

    def _end(self, name: str) -> None:
        taken = self._clock() - self._present.pop(name)
        self.seconds[name] = self.seconds.get(name, 0.0) + taken
        self._show()
        if self._console is not None and taken >= SHOWN_SECONDS:
            self._console.print(f"{name}: {duration(taken)}")

    def _show(self) -> None:
        if self._console is None:
            self._console = Console(file=self._out or sys.stdout, markup=False, emoji=False, highlight=False)
        if not self._console.is_terminal:
            return
        if self._status is not None and not self._present:
            self._status.stop()
            self._status = None
        elif self._present:
            text = ", ".join(self._present) + " ..."
            if self._status is None:
                self._status = Status(text, console=self._console)
                self._status.start()
            else:
                self._status.update(text)
