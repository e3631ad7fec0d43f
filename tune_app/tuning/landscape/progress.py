"""Progress of a landscape's points: a bar where there is a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 5.0


class LandscapeProgress:
    """Shows how many of ``total`` points are done while it is entered."""

    def __init__(self, total: int) -> None:
        self._console = Console(markup=False, emoji=False, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("points", total=total)
        self._total, self._done = total, 0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> LandscapeProgress:
        """Begin to draw."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Draw for the last time."""
        self._bar.stop()

    def advance(self, points: int, model: str) -> None:
        """Count points of a model that are done and in the store."""
        self._done += points
        self._bar.update(self._task, completed=self._done, description=model)
        now = time.monotonic()
        if self._bar.disable:
            self._say(now, model)

    def _say(self, now: float, model: str) -> None:
        """Print a line at the end, and not more often than every few seconds before."""
        if self._done < self._total and now - self._said < LINE_SECONDS:
            return
        self._said = now
        rate = self._done / max(now - self._began, 1e-9)
        self._console.print(
            f"{self._done:,}/{self._total:,} points, {rate:.3g} a second ({model})",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
