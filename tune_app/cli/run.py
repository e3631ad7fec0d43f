"""The verb `run`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search_spaces.errors import headline
from tune_app.cli.common import Results, Set, Size, Study, console, read_study

if TYPE_CHECKING:
    from tune_app.tuning.passes import RunSummary


BUDGET_SPENT = 3
"""Exit code of a run that its budget ended."""
Address = Annotated[
    str | None, typer.Option(help="Ray to join: auto, or HOST:PORT. A Ray of its own on this machine if left out.")
]
SharedFolder = Annotated[
    bool, typer.Option("--shared-folder", help="The results folder is seen by every node of the cluster (NFS).")
]
Inline = Annotated[
    bool, typer.Option("--inline", help="Train in this process, one trial at a time, without Ray: for a debugger.")
]
AcceptCode = Annotated[
    bool, typer.Option("--accept-code", help="The changed code computes what it did: keep its cells.")
]
Events = Annotated[bool, typer.Option(help="Write TensorBoard event files beside the store, too.")]


def run(
    study: Study,
    size: Size = None,
    set_: Set = None,
    results: Results = "results",
    address: Address = None,
    shared_folder: SharedFolder = False,
    inline: Inline = False,
    accept_code: AcceptCode = False,
    tensorboard: Events = False,
) -> None:
    """Train what the results store does not hold yet. Run again to resume, and to add levels and factors.

    Example: `tune-app run quickstart --set seeds=3`
    """
    spec = read_study(study, size, set_ or ())
    from tune_app.tuning.runner import run_study  # Ray takes seconds to import: not for --help or a typo

    out = console()
    out.print(f"{spec.name}: {spec.question}", soft_wrap=True)
    executor = "inline" if inline else "ray"
    show = partial(show_summary, out=out)
    conclude(
        run_study(spec, results, address, tensorboard, shared_folder, executor, accept_code=accept_code, show=show)
    )


def conclude(summary: RunSummary) -> None:
    """End with the exit code of a run: 130 if interrupted, 3 if its budget is spent, 1 if trials failed, else 0."""
    if summary.interrupted:
        raise typer.Exit(130)
    if summary.budget_spent:
        raise typer.Exit(BUDGET_SPENT)
    if summary.failed:
        raise typer.Exit(1)


def show_summary(summary: RunSummary, out: Console) -> None:
    """Print what a run did and how to go on."""
    for note in summary.notes:
        out.print(f"note: {note}")
    counts = ", ".join(f"{count} {status}" for status, count in summary.counts.items())
    done = f"trained {summary.trained} ({counts})" if summary.trained else "nothing to train"
    out.print(
        f"{done}; {summary.already} were done before; {summary.seconds:.1f} s; results in {summary.store}",
        soft_wrap=True,
    )
    from tune_app.tuning.progress import duration

    if summary.estimated is not None and not summary.interrupted and not summary.stopped:
        out.print(f"estimated {duration(summary.estimated)}, took {duration(summary.seconds)}")
    for name, error in summary.failed:
        out.print(f"failed: {name}: {headline(error)}", style="red")
    if summary.interrupted:
        out.print("interrupted: run the same command again to go on")
    elif summary.budget_spent:
        out.print(
            f"stopped: the budget is spent ({summary.budget_spent}); finished trials are kept, started ones go on from "
            "their checkpoints: raise `budget` and run the same command again",
            soft_wrap=True,
        )
    elif summary.failed and summary.stopped:
        out.print("stopped: the study's limit of failed trials is reached")
