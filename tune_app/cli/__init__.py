"""The command line `tune-app`. A user mistake gives one message and exit code 2, never a traceback."""

from __future__ import annotations

import sys

import typer

from search_spaces.errors import StudyError
from tune_app.cli import (
    augmentations,
    compact,
    factorize,
    jobs,
    landscape,
    params,
    report,
    reproduce,
    run,
    serve,
    studies,
)
from tune_app.cli.common import console

app = typer.Typer(
    name="tune-app",
    help="Which of these choices matters, by how much, and how sure are we? Ablations and searches on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    studies.studies,
    studies.validate,
    studies.plan,
    run.run,
    serve.serve,
    jobs.submit,
    jobs.status,
    jobs.logs,
    jobs.stop,
    compact.compact,
    report.report,
    reproduce.reproduce,
    report.compare,
    landscape.landscape,
    factorize.factorize,
    augmentations.augmentations,
    studies.schema,
    params.params,
):
    app.command()(verb)
app.add_typer(serve.tokens, name="token")


def main() -> None:
    """Run the command line."""
    try:
        app()
    except StudyError as error:
        console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console(stderr=True).print("stopped; the results store contains the finished trials", markup=False)
        sys.exit(130)
