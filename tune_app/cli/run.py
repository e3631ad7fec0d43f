"""The verb `run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search_spaces.errors import StudyError, headline
from tune_app.cli.common import Results, Set, Size, Study, console
from tune_app.studies import read_study

if TYPE_CHECKING:
    from tune_app.tuning.passes import RunSummary


def run(
    study: Study,
    size: Size = None,
    set_: Set = None,
    results: Results = "results",
    address: Annotated[
        str | None, typer.Option(help="Ray to join: auto, or HOST:PORT. A Ray of its own on this machine if left out.")
    ] = None,
    shared_folder: Annotated[
        bool, typer.Option("--shared-folder", help="The results folder is seen by every node of the cluster (NFS).")
    ] = False,
    inline: Annotated[
        bool, typer.Option("--inline", help="Train in this process, one trial at a time, without Ray: for a debugger.")
    ] = False,
    accept_code: Annotated[
        bool,
        typer.Option("--accept-code", help="The changed code computes what it did: keep its cells."),
    ] = False,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard event files beside the store, too.")] = False,
) -> None:
    """Train what the results store does not hold yet. Run again to resume, to add seeds, to add levels.

    Example: `tune-app run quickstart --set seeds=3`
    """
    spec = read_study(study, size, set_ or ())
    from tune_app.tuning.runner import run_study  # Ray takes seconds to import: not for --help or a typo

    out = console()
    out.print(f"{spec.name}: {spec.question}", soft_wrap=True)
    if inline and address is not None:
        raise StudyError("`--inline` trains in this process, so it takes no --address; leave one of them out")
    summary = run_study(
        spec,
        results,
        address,
        tensorboard,
        shared_folder,
        executor="inline" if inline else "ray",
        accept_code=accept_code,
    )
    say_summary(summary, out)


def say_summary(summary: RunSummary, out: Console) -> None:
    """Print what a run did; exit with 130 where it was interrupted and with 1 where trials failed."""
    for note in summary.notes:
        out.print(f"note: {note}")
    counts = ", ".join(f"{count} {status}" for status, count in summary.counts.items())
    done = f"trained {summary.trained} ({counts})" if summary.trained else "nothing to train"
    out.print(
        f"{done}; {summary.already} were done before; {summary.seconds:.1f} s; results in {summary.store}",
        soft_wrap=True,
    )
    for name, error in summary.failed:
        out.print(f"failed: {name}: {headline(error)}", style="red")
    if summary.interrupted:
        out.print("interrupted: run the same command again to go on")
        raise typer.Exit(130)
    if summary.failed:
        if summary.stopped:
            out.print("stopped: the study's limit of failed trials is reached")
        raise typer.Exit(1)
