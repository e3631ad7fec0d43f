"""Options that several verbs use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from search_spaces.study import StudySpec

Study = Annotated[str, typer.Argument(help="A study file, or the name of a ready study.", show_default=False)]
Size = Annotated[str | None, typer.Option(help="One of the study's own sizes, such as smoke, small or full.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override path=value, such as model.depth=20 or seeds=3; repeatable.", metavar="P=V"),
]
Results = Annotated[str, typer.Option(help="Folder or URL (s3://...) that holds a store for each study.")]


_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and newline, those that reverse the order of text, and bytes that were no text."""


class Screen(Console):
    """A console that prints text as it is: no markup, no emoji names, no colouring, no codes for the terminal."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if not self.is_terminal:
            self.width = 140

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text, of a table's cell too, with what a terminal would obey shown as an escape such as ``\\x1b``."""
        return super().render_str(printable(text), **options)


def printable(text: str) -> str:
    """Return text with each control character written as an escape."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def console(stderr: bool = False) -> Screen:
    """Return a console on the present standard output or error; as wide as a report where that is no terminal."""
    return Screen(stderr)


def read_study(study: str, size: str | None = None, overrides: Sequence[str] = ()) -> StudySpec:
    """Return `tune_app.studies.read_study`, which takes too long to import for ``--help``."""
    from tune_app import studies

    return studies.read_study(study, size, overrides)
