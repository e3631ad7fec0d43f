"""TensorBoard event files of a study: a folder for each trial, a scalar for each metric."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from search_spaces.errors import StudyError
from tune_app.exports.records import Trial

DONE = "exported.txt"
"""File beside a trial's events with the hash of what they contain, written last."""
MOST_BYTES = 100
"""Bytes of an arm's name in the name of a trial's folder."""


def export(trials: Iterable[Trial], folder: Path) -> str:
    """Write event files below a folder; trials that are there as they are now are left alone.

    The name of a trial's folder ends with its key and its study. Where it begins with an earlier name of the arm, the
    folder is replaced. Raises StudyError where tensorboardX is missing.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise StudyError("the export to TensorBoard needs tensorboardX: pip install 'tune-app[tensorboard]'") from None
    written = same = 0
    known: dict[str, list[Path]] = {}
    for path in folder.iterdir() if folder.exists() else ():
        known.setdefault(path.name.rsplit(" ", 1)[-1], []).append(path)
    for trial in trials:
        identity = f"{trial.key}-{trial.study}"
        own = folder / f"{_short(trial.arm)}, seed {trial.seed} {identity}"
        for renamed in known.get(identity, ()):
            if renamed != own:
                shutil.rmtree(renamed)
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


def _short(arm: str) -> str:
    """Return the name of an arm as part of a file's name, which may have 255 bytes."""
    return re.sub(r"[^\w=,.+ -]", "_", arm).encode()[:MOST_BYTES].decode(errors="ignore")
