"""The verbs `report` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from search_spaces.errors import StudyError
from search_spaces.files import is_ours, require_regular
from tune_app.cli.common import Results, Set, Size, Study, console, read_study
from tune_app.storage import Folder

if TYPE_CHECKING:
    import pandas as pd

    from analysis.store.results import StudyResults
    from search_spaces.study import StudySpec
    from tune_app.tuning.partial import PartialTrial

TOP = 5
"""Trials of a search that `report` prints."""
_COMPARED = (
    "baseline", "factors", "design", "space", "search", "tune", "seeds", "sequential", "metric", "rope", "reference",
)  # fmt: skip


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
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Also show trials that have not ended, from checkpoints and live.json."),
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(help="Only print what a trial wrote by context.log; DIGEST or its beginning.", metavar="DIGEST"),
    ] = None,
) -> None:
    """Print the verdicts of a study and write its report, one self-contained page.

    Example: `tune-app report quickstart`
    """
    from analysis import load_study
    from analysis.report.tables import effects_table
    from analysis.stats.effects import effects

    store = store_of(study, size, set_, results)
    found = load_study(store.url)
    if log is not None:
        _print_log(found, log, console())
        return
    notes = _differences(found.spec, study, size, set_)
    screen, table, found_effects = console(), None, None
    if not found.is_search and (len(found.trials) or not partial):
        found_effects = effects(found)
        table = effects_table(found_effects, found.metric_record())
        _print_effects(found, found_effects, table, screen)
    if found.is_search and (best := best_trials_table(found)) is not None:
        screen.print(best)
    for problem in found.problems:
        screen.print(f"problem: {problem}")
    for note in notes:
        screen.print(note)
    if len(found.other):
        screen.print(f"{len(found.other)} stored cells are not of this version of the study: not compared")
    unfinished = _unfinished(found, store, screen) if partial else []
    to = Path(out) if out else default_page(store, screen)
    screen.print(f"report: {_write(found, store, to, found_effects, table, unfinished)}", soft_wrap=True)


def _print_effects(found: StudyResults, effects: pd.DataFrame, table: pd.DataFrame, screen: Console) -> None:
    """Print the effects of an ablation as a table, and what tuning changed where arms were tuned."""
    from analysis.stats.tuned import tuned_comparison

    for row in effects.head(1).to_dict("records"):
        mean = row["reference_mean"]
        known = "no finished run" if mean != mean else found.metric_record().show(mean)
        screen.print(f"compared with {row['reference']}: {known}")
    screen.print(_on_screen(table))
    if found.is_tuned:
        for row in tuned_comparison(found, table=effects).to_dict("records"):
            screen.print(f"{row['arm']}: {row['words']}", soft_wrap=True)


def _write(
    found: StudyResults,
    store: Folder,
    to: Path,
    effects: pd.DataFrame | None,
    table: pd.DataFrame | None,
    unfinished: list[PartialTrial],
) -> Path:
    """Write the page and the tables beside it, and return the page's path."""
    from analysis.report.partial import partial_table
    from analysis.report.study import write_report
    from analysis.report.tables import write_table
    from analysis.store.load import load_confirmation

    confirmation = load_confirmation(store.url) if found.is_search else None
    page = write_report(found, to, effects, confirmation, unfinished)
    if unfinished:
        write_table(partial_table(unfinished), page.with_name("partial.csv"))
    if table is not None:
        for ending in (".md", ".csv", ".tex"):
            write_table(table, page.with_name("effects" + ending))
    return page


def _print_log(found: StudyResults, digest: str, screen: Console) -> None:
    """Print the log of the trial whose digest begins so; StudyError where that is not one trial."""
    trials = found.trained[found.trained["digest"].str.startswith(digest)]
    if len(trials) != 1:
        raise StudyError(
            f"`--log` is {digest!r}, which is the beginning of {len(trials)} digests of this study; the table of "
            "trials in the report has them in full"
        )
    (row,) = trials.to_dict("records")
    lines = row["log_lines"] if isinstance(row["log_lines"], str) else "nothing was written by context.log"
    screen.print(f"{row['arm']}, seed {row['seed']}:\n{lines}", soft_wrap=True)


def best_trials_table(found: StudyResults) -> Table | None:
    """Return the best trials of a search, with their values and what they reached; None where none has completed."""
    from analysis.report.search import best_trials, search_value
    from analysis.store.load import FACTOR

    best, metrics = best_trials(found, TOP)
    if not len(best):
        return None
    shown = Table(title=f"best of {len(found.trials)} trials, by {metrics[0].label}", title_justify="left")
    for heading in ("place", *found.factors, *(metric.axis for metric in metrics)):
        shown.add_column(heading, justify="right")
    for place, row in enumerate(best.to_dict("records"), start=1):
        values = [search_value(row.get(FACTOR + name)) for name in found.factors]
        shown.add_row(str(place), *values, *(metric.shows(row[metric.name]) for metric in metrics))
    return shown


def _unfinished(found: StudyResults, store: Folder, screen: Console) -> list[PartialTrial]:
    """Return the trials that have not ended, and print what is known of them."""
    from analysis.report.partial import partial_rows
    from tune_app.tuning.partial import partial_trials

    rows = (*found.trials[["digest", "fingerprint"]].itertuples(index=False, name=None),)
    trials = partial_trials(store, found.spec, set(rows))
    if not trials:
        screen.print("no trial that has not ended left anything")
        return []
    metric = found.metric_record(found.choose_by)
    shown = Table(title=f"have not ended: {metric.label} of the epochs so far")
    for heading in ("arm", "seed", "epochs", "last", "best", "from"):
        shown.add_column(heading)
    for row in partial_rows(trials, metric):
        shown.add_row(*(str(row[name]) for name in ("arm", "seed", "epochs", "last", "best", "source")))
    screen.print(shown)
    return trials


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

    folder = Folder(results)
    name = study if (folder / study).exists("study.yaml") else read_study(study, size, set_ or ()).name
    store = folder / name
    if not store.exists("study.yaml"):
        raise StudyError(f"{store.url} has no results yet; `tune-app run {study}` creates them")
    if store.is_local:
        require_regular(Path(store.path("study.yaml")))
    return store


def _differences(stored: StudySpec | None, study: str, size: str | None, set_: list[str] | None) -> list[str]:
    """Return a note on where a file, or options, differ from the study that was run; none for a plain name."""
    from search_spaces.study_files import ready_studies

    is_file = Path(study).is_file()
    if stored is None or not (is_file or size or set_):
        return []
    if not is_file and study not in ready_studies():
        raise StudyError(
            f"{study!r} names a results store, whose report is of the study as it was last run: leave `--size` and "
            "`--set` out, or give the study's file"
        )
    given = read_study(study, size, set_ or ())
    before, now = (spec.model_dump(mode="json", include=set(_COMPARED)) for spec in (stored, given))
    differing = [name for name in _COMPARED if before[name] != now[name]]
    differing += ["choose_by"] * (stored.choose_by_metric() != given.choose_by_metric())
    if not differing:
        return []
    return [
        f"note: the report is of the study as it was last run; {', '.join(differing)} differ from it: "
        "`tune-app run` takes them over, and trains only what is missing"
    ]


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
