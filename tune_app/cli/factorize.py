"""The verb `factorize`: check ALS against the SVD."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from search_spaces.errors import StudyError
from tune_app.cli.common import Results, console
from tune_app.cli.report import store_of

if TYPE_CHECKING:
    from analysis.factorization import FactorizationReport


def factorize(
    study: Annotated[str | None, typer.Argument(help="A study with results, if no --matrix or --image.")] = None,
    matrix: Annotated[Path | None, typer.Option(help="A matrix: .npy, .csv or .parquet.")] = None,
    image: Annotated[Path | None, typer.Option(help="An image file, used as a matrix of luminance.")] = None,
    rank: Annotated[int, typer.Option(help="Rank of the factorization.", min=1)] = 2,
    starts: Annotated[int, typer.Option(help="Random starts of ALS.", min=2)] = 5,
    out: Annotated[Path | None, typer.Option(help="Folder for plots and tables; ./factorization if none.")] = None,
    results: Results = "results",
) -> None:
    """Check alternating least squares against the SVD on a study's curves, a matrix or an image.

    Exit code 1 when a check fails. Example: `tune-app factorize quickstart --rank 2`
    """
    from analysis import load_study
    from analysis.factorization import arms_by_seeds, read_image, read_matrix
    from analysis.report.factorize import factorize as check

    if sum(given is not None for given in (study, matrix, image)) != 1:
        raise StudyError("`factorize` takes one of STUDY, --matrix FILE or --image FILE")
    folder = out or Path("factorization")
    if study is not None:
        found = load_study(store_of(study, None, None, results).url)
        reports = {"trials x epochs": check(found, rank, folder / "trials-by-epochs", starts)}
        square = arms_by_seeds(found, found.metric).dropna().to_numpy()
        if min(square.shape, default=0) > rank:
            reports["arms x seeds"] = check(square, rank, folder / "arms-by-seeds", starts)
    else:
        source = read_matrix(matrix) if matrix is not None else read_image(image or "")
        reports = {str(matrix or image): check(source, rank, folder, starts)}
    for name, report in reports.items():
        _show(name, report)
    console().print(f"plots and tables: {folder}", soft_wrap=True)
    if not all(report.passed for report in reports.values()):
        raise typer.Exit(1)


def _show(name: str, report: FactorizationReport) -> None:
    rows, columns = report.matrix.shape
    table = Table(title=f"{name} ({rows} x {columns}), rank {report.svd.rank}", title_justify="left")
    for heading in ("check", "verdict", "explanation"):
        table.add_column(heading)
    for check in report.checks:
        table.add_row(check.name, check.verdict, check.words)
    screen = console()
    screen.print(table)
    for note in report.notes:
        screen.print(f"note: {note}")
