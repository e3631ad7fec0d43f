"""Weights & Biases: a run for each trial, written in offline mode by its own library; ``wandb sync`` sends them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from search_spaces.errors import StudyError
from tune_app.exports.records import Trial

DONE = "exported"
"""Folder with a file for each trial that is whole: the hash of what was written."""


def export(trials: Iterable[Trial], folder: Path, project: str) -> str:
    """Write offline runs below ``folder/wandb``; trials that are there as they are now are left alone.

    A trial keeps its run id, so that a later ``wandb sync`` continues the run. Studies that share a cell have a run of
    it each. Raises StudyError where the library is missing.
    """
    try:
        import wandb
    except ImportError:
        raise StudyError("the export to Weights & Biases needs its library: pip install 'tune-app[wandb]'") from None
    notes = folder / "wandb" / DONE
    notes.mkdir(parents=True, exist_ok=True)
    written = same = 0
    for trial in trials:
        own = f"{trial.key}-{trial.study}"
        note = notes / own
        if note.exists() and note.read_text() == trial.content:
            same += 1
            continue
        note.unlink(missing_ok=True)
        for old in (folder / "wandb").glob(f"offline-run-*-{own}"):
            shutil.rmtree(old)
        settings = wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True
        )
        run = wandb.init(
            mode="offline", dir=str(folder), project=project, id=own, name=trial.name, group=trial.arm,
            config={**trial.params, **trial.tags}, tags=[trial.status], settings=settings,
        )  # fmt: skip
        for epoch, values in trial.epochs:
            run.log({**values, "epoch": epoch}, step=epoch)
        run.summary.update({f"final_{name}": value for name, value in trial.metrics.items()})
        run.finish(exit_code=0 if trial.status in ("completed", "pruned") else 1)
        note.write_text(trial.content)
        written += 1
    place = folder / "wandb"
    how = f"send them by `wandb sync {place}/offline-run-*`"
    return f"{written} offline runs written to {place}, {same} were there already; {how}"
