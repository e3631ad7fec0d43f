"""Options that several verbs use."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

Study = Annotated[str, typer.Argument(help="A study file, or the name of a ready study.", show_default=False)]
Size = Annotated[str | None, typer.Option(help="One of the study's own sizes, such as smoke, small or full.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override path=value, such as model.depth=20 or seeds=3; repeatable.", metavar="P=V"),
]
Results = Annotated[str, typer.Option(help="Folder or URL (s3://...) that holds a store for each study.")]


def console(stderr: bool = False) -> Console:
    """Return a console on standard output or error; 140 characters wide if that is not a terminal."""
    terminal = Console(stderr=stderr)
    return terminal if terminal.is_terminal else Console(stderr=stderr, width=140)
