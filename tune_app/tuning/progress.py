"""Live progress: one table of running trials where there is a terminal, one line for each finished trial elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from search_spaces.errors import headline
from tune_app.tuning.eta import TimeLeft
from tune_app.tuning.running_effects import ArmSoFar, RunningEffects
from tune_app.tuning.store.rows import TrialRecord

_ENDED = ("completed", "pruned", "diverged", "failed")
_ROWS = 12
_DRAW_SECONDS = 0.25


class Progress:
    """Draws what the recorder takes in. ``total``: trials that this run is known to train; it may grow.

    ``effects``, where it is set, is drawn in a terminal below the running trials.
    """

    def __init__(self, total: int, already: int, objective: str, better: str, out: TextIO) -> None:
        self._console = Console(file=out, markup=False, emoji=False, highlight=False)
        self._already, self._objective, self._better = already, objective, better
        self._left = TimeLeft(total)
        self.effects: RunningEffects | None = None
        self._running: dict[str, TrialRecord] = {}
        self.counts: Counter[str] = Counter()
        self._best: tuple[float, str] | None = None
        self._live: Live | None = None
        self._drawn = 0.0

    @property
    def total(self) -> int:
        """Trials that this run is known to train."""
        return self._left.total

    @total.setter
    def total(self, total: int) -> None:
        self._left.total = total

    def update(self, record: TrialRecord, event: str) -> None:
        """Take in that a trial started, reported, or ended."""
        key = record.job.digest
        if event in ("started", "running"):
            self._running[key] = record
            self._left.started(key)
            if record.epochs:
                self._left.reported(key, len(record.epochs) / record.job.config.epochs)
            return
        self._running.pop(key, None)
        self._left.ended(key, counts=event != "again")
        if event == "again":
            self._say(f"  {_name(record)}: {record_history(record)}")
            return
        self.counts[event] += 1
        self._note_best(record)
        self._say(self._line(record, event))

    def start(self) -> None:
        """Begin to draw."""
        if self._console.is_terminal or self._console.is_jupyter:
            self._live = Live(self._picture(), console=self._console, refresh_per_second=4)
            self._live.start()

    def stop(self) -> None:
        """Draw for the last time."""
        if self._live is not None:
            self._live.update(self._picture())
            self._live.stop()
            self._live = None

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Redraw, four times a second at most: a run of thousands of short trials has far more steps."""
        now = time.monotonic()
        if self._live is not None and now - self._drawn >= _DRAW_SECONDS:
            self._drawn = now
            self._live.update(self._picture())

    def note(self, line: str) -> None:
        """Print a line, above the table where there is one."""
        self._console.print(line, soft_wrap=True)

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

    def seconds_left(self) -> float | None:
        """Return the estimated seconds that the run has left; None where too little has been done to say."""
        return self._left.seconds()

    def _eta(self) -> str:
        left = self.seconds_left()
        return "" if left is None else f", about {duration(left)} left"

    def _picture(self) -> Group:
        effects = self.effects
        arms = effects.arms() if effects is not None else []
        if effects is None or not arms:
            return Group(self._table())
        heading = f"{effects.metric.label} so far, compared with {effects.reference}; verdicts need the planned seeds"
        return Group(self._table(), Text(heading), self._effects_table(effects, arms))

    def _effects_table(self, effects: RunningEffects, arms: list[ArmSoFar]) -> Table:
        table = Table()
        for heading in ("arm", "mean difference", "seeds"):
            table.add_column(heading, justify="left" if heading == "arm" else "right")
        for arm in arms[:_ROWS]:
            table.add_row(arm.arm, effects.show(arm), f"{arm.seeds} of {arm.planned}")
        if len(arms) > _ROWS:
            table.add_row(f"... and {len(arms) - _ROWS} more")
        return table

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
