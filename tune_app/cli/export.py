"""The verb `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from search_spaces.errors import StudyError
from tune_app.cli.common import Results, Set, Size, Study, console
from tune_app.cli.report import store_of
from tune_app.storage import Folder


class Target(StrEnum):
    """What the results are exported to."""

    CSV = "csv"
    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"
    WANDB = "wandb"


def export(
    target: Annotated[Target, typer.Argument(help="csv, tensorboard, mlflow or wandb.", show_default=False)],
    study: Study,
    size: Size = None,
    set_: Set = None,
    results: Results = "results",
    out: Annotated[
        Path | None, typer.Option(help="Folder for files; exports/TARGET in the store if left out.", show_default=False)
    ] = None,
    to: Annotated[str, typer.Option(help="Address of the MLflow server.")] = "http://127.0.0.1:5000",
    experiment: Annotated[
        str | None, typer.Option(help="Experiment of MLflow or project of W&B; the study's name if left out.")
    ] = None,
) -> None:
    """Export the finished trials of a study from its store, during a run too. To export again adds only what is new.

    Example: `tune-app export mlflow quickstart --to http://127.0.0.1:5000`
    """
    from analysis import load_study
    from tune_app.exports import csv_files, mlflow, tensorboard, wandb
    from tune_app.exports.records import trials_of

    store = store_of(study, size, set_, results)
    found = load_study(store.url)
    screen = console()
    for problem in found.problems:
        screen.print(f"problem: {problem}")
    name = experiment or found.name
    if target is Target.MLFLOW:
        done = mlflow.export(trials_of(found), to, name)
    elif target is Target.CSV:
        done = csv_files.export(found, _folder(out, store, target))
    elif target is Target.TENSORBOARD:
        done = tensorboard.export(trials_of(found), _folder(out, store, target))
    else:
        done = wandb.export(trials_of(found), _folder(out, store, target), name)
    screen.print(done, soft_wrap=True)


def _folder(out: Path | None, store: Folder, target: Target) -> Path:
    if out is None and not store.is_local:
        raise StudyError(f"{store.url} is remote, and {target} writes local files; give a folder by --out")
    return out or Path(store.path(f"exports/{target}"))
