"""TensorBoard event files of a study: a folder for each trial, a scalar for each metric."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from search_spaces.errors import StudyError
from tune_app.exports.records import Trial

DONE = "exported.txt"
"""File beside a trial's events with the hash of what they contain, written last."""


def export(trials: Iterable[Trial], folder: Path) -> str:
    """Write event files below a folder; trials that are there as they are now are left alone.

    Raises StudyError where tensorboardX is missing.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise StudyError("the export to TensorBoard needs tensorboardX: pip install 'tune-app[tensorboard]'") from None
    written = same = 0
    for trial in trials:
        own = folder / re.sub(r"[^\w=,.+ -]", "_", f"{trial.name} {trial.key[:8]}")
        if (own / DONE).exists() and (own / DONE).read_text() == trial.content:
            same += 1
            continue
        own.mkdir(parents=True, exist_ok=True)
        for old in (*own.glob("events.out.tfevents.*"), own / DONE):
            old.unlink(missing_ok=True)
        with SummaryWriter(str(own)) as writer:
            for epoch, values in trial.epochs:
                for name, value in values.items():
                    writer.add_scalar(name.replace("_", "/", 1), value, epoch, walltime=trial.finished_at)
            for name, value in trial.metrics.items():
                writer.add_scalar(f"trial/{name}", value, 0, walltime=trial.finished_at)
        (own / DONE).write_text(trial.content)
        written += 1
    return f"{written} trials written below {folder}, {same} were there already"
