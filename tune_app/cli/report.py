"""The verbs `report` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from search_spaces.errors import StudyError
from search_spaces.files import is_ours, require_regular
from tune_app.cli.common import Results, Set, Size, Study, console
from tune_app.storage import Folder

if TYPE_CHECKING:
    import pandas as pd


def report(
    study: Study,
    size: Size = None,
    set_: Set = None,
    results: Results = "results",
    out: Annotated[
        str | None,
        typer.Option(
            help="The page to write. If left out: in the store, or in this folder if that is remote or not yours."
        ),
    ] = None,
) -> None:
    """Print the verdicts of a study and write its report, one self-contained page.

    Example: `tune-app report quickstart`
    """
    from analysis import load_study
    from analysis.report.study import write_report
    from analysis.report.tables import effects_table, write_table
    from analysis.stats.effects import effects
    from analysis.stats.tuned import tuned_comparison
    from analysis.store.load import load_confirmation

    store = store_of(study, size, set_, results)
    found = load_study(store.url)
    screen, table, found_effects = console(), None, None
    if not found.is_search:
        found_effects = effects(found)
        table = effects_table(found_effects, found.metric_record())
        for row in found_effects.head(1).to_dict("records"):
            mean = row["reference_mean"]
            known = "no finished run" if mean != mean else found.metric_record().show(mean)
            screen.print(f"compared with {row['reference']}: {known}")
        screen.print(_on_screen(table))
        if found.is_tuned:
            for row in tuned_comparison(found, table=found_effects).to_dict("records"):
                screen.print(f"{row['arm']}: {row['words']}", soft_wrap=True)
    for problem in found.problems:
        screen.print(f"problem: {problem}")
    if len(found.other):
        screen.print(f"{len(found.other)} stored cells are not of this version of the study: not compared")
    confirmation = load_confirmation(store.url) if found.is_search else None
    page = write_report(found, Path(out) if out else default_page(store, screen), found_effects, confirmation)
    if table is not None:
        for ending in (".md", ".csv", ".tex"):
            write_table(table, page.with_name("effects" + ending))
    screen.print(f"report: {page}", soft_wrap=True)


def compare(
    studies: Annotated[list[str], typer.Argument(help="Two or more studies with results.", show_default=False)],
    results: Results = "results",
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("comparison.html"),
) -> None:
    """Write one page that compares several studies.

    Example: `tune-app compare quickstart norms --out comparison.html`
    """
    from analysis import load_study
    from analysis.report.compare import write_comparison

    found = [load_study(store_of(study, None, None, results).url) for study in studies]
    console().print(f"comparison: {write_comparison(found, out)}", soft_wrap=True)


def store_of(study: str, size: str | None, set_: list[str] | None, results: str) -> Folder:
    """Return the store of a study: given as a file, a ready study's name, or the name of a store in ``results``."""
    from tune_app.studies import read_study

    folder = Folder(results)
    name = study if (folder / study).exists("study.yaml") else read_study(study, size, set_ or ()).name
    store = folder / name
    if not store.exists("study.yaml"):
        raise StudyError(f"{store.url} has no results yet; `tune-app run {study}` creates them")
    if store.is_local:
        require_regular(Path(store.path("study.yaml")))
    return store


def default_page(store: Folder, screen: Console) -> Path:
    """Return the default path of a store's report: in it, or in this folder if it is remote or another user's."""
    if store.is_local and is_ours(store.root):
        return Path(store.path("report/report.html"))
    page = Path(f"{store.root.rstrip('/').rsplit('/', 1)[-1]}-report") / "report.html"
    if store.is_local:
        screen.print(
            f"note: {store.url} belongs to another user or cannot be written, so the report goes to {page.parent}",
            soft_wrap=True,
        )
    return page


def _on_screen(table: pd.DataFrame) -> Table:
    """Return a data frame of text as a table for the console."""
    shown = Table()
    for heading in table.columns:
        shown.add_column(heading, justify="left" if heading in ("Arm", "Verdict") else "right")
    for row in table.itertuples(index=False):
        shown.add_row(*map(str, row))
    return shown
