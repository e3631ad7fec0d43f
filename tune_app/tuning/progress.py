"""Live progress: one table of running trials where there is a terminal, one line for each finished trial elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from search_spaces.errors import headline
from tune_app.tuning.store.rows import TrialRecord

_ENDED = ("completed", "pruned", "diverged", "failed")
_ROWS = 12


class Progress:
    """Draws what the recorder takes in. ``total``: trials that this run is known to train; it may grow."""

    def __init__(self, total: int, already: int, objective: str, better: str, out: TextIO) -> None:
        self._console = Console(file=out, markup=False, emoji=False, highlight=False)
        self.total, self._already, self._objective, self._better = total, already, objective, better
        self._running: dict[str, TrialRecord] = {}
        self.counts: Counter[str] = Counter()
        self._best: tuple[float, str] | None = None
        self._began = time.monotonic()
        self._live: Live | None = None

    def update(self, record: TrialRecord, event: str) -> None:
        """Take in that a trial started, reported, or ended."""
        key = record.job.digest
        if event in ("started", "running"):
            self._running[key] = record
            return
        self._running.pop(key, None)
        if event == "again":
            self._say(f"  {_name(record)}: {record_history(record)}")
            return
        self.counts[event] += 1
        self._note_best(record)
        self._say(self._line(record, event))

    def note(self, line: str) -> None:
        """Print a line, above the table where there is one."""
        self._console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)

    def start(self) -> None:
        """Begin to draw."""
        if self._console.is_terminal or self._console.is_jupyter:
            self._live = Live(self._table(), console=self._console, refresh_per_second=4)
            self._live.start()

    def stop(self) -> None:
        """Draw for the last time."""
        if self._live is not None:
            self._live.update(self._table())
            self._live.stop()
            self._live = None

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Redraw."""
        if self._live is not None:
            self._live.update(self._table())

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be pickled: Ray saves its callbacks."""
        return {}

    def _say(self, line: str) -> None:
        if self._live is None:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _line(self, record: TrialRecord, status: str) -> str:
        done = sum(self.counts.values()) + self._already
        figures = f"{self._objective} {_objective(record, self._objective):.4g}" if record.best_epoch else "no figures"
        return (
            f"[{done}/{self.total + self._already}] {_name(record)}: {status} after {len(record.epochs)} epochs, "
            f"{figures}, {record.columns.get('seconds', 0.0):.1f} s{self._eta()}"
        )

    def _note_best(self, record: TrialRecord) -> None:
        if record.best_epoch is None:
            return
        value = _objective(record, self._objective)
        if self._best is None or (value > self._best[0]) == (self._better == "max"):
            self._best = (value, _name(record))

    def _eta(self) -> str:
        done = sum(self.counts.values())
        if not done or done >= self.total:
            return ""
        left = (time.monotonic() - self._began) / done * (self.total - done)
        return f", about {duration(left)} left"

    def _table(self) -> Table:
        done = sum(self.counts.values())
        counts = ", ".join(f"{self.counts[status]} {status}" for status in _ENDED if self.counts[status])
        caption = f"{done} of {self.total} ended{': ' + counts if counts else ''}"
        caption += f"; {self._already} were done before{self._eta()}"
        if self._best is not None:
            caption += f"\nbest {self._objective} so far: {self._best[0]:.4g} ({self._best[1]})"
        table = Table(caption=caption, caption_justify="left", expand=False)
        for heading in ("running trial", "epoch", self._objective, "s/epoch"):
            table.add_column(heading, justify="left" if heading == "running trial" else "right")
        for record in list(self._running.values())[:_ROWS]:
            last = record.epochs[max(record.epochs)] if record.epochs else {}
            table.add_row(
                _name(record),
                f"{len(record.epochs)}/{record.job.config.epochs}",
                f"{last[self._objective]:.4g}" if self._objective in last else "",
                f"{last['seconds']:.2g}" if last else "",
            )
        if len(self._running) > _ROWS:
            table.add_row(f"... and {len(self._running) - _ROWS} more")
        return table


def record_history(record: TrialRecord) -> str:
    """Return what went wrong in the attempt that just ended."""
    return headline(record.columns.get("error", "")) or "out of memory; will be tried again alone"


def _name(record: TrialRecord) -> str:
    return f"{record.job.arm}, seed {record.job.config.seed}"


def _objective(record: TrialRecord, objective: str) -> float:
    return float(record.epochs[record.best_epoch or 0][objective])


def duration(seconds: float) -> str:
    """Return a length of time as a person says it: "0.4 s", "35 s", "4 min 05 s", "2 h 10 min"."""
    if seconds < 1.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
