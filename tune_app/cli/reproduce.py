"""The verb `reproduce`: the ready studies one after the other, then one page of claims and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search_spaces.errors import StudyError
from tune_app.cli.common import Results, Set, console, read_study
from tune_app.cli.run import Address, SharedFolder
from tune_app.storage import Folder

if TYPE_CHECKING:
    from search_spaces.study import StudySpec

NEEDS_PATH = ("parquet", "folder")
SURFACES = {"smoke": (3, 50), "small": (15, 250)}
"""Size -> (points per side, test images) of a loss landscape; for other sizes 51 points and every test image."""


def reproduce(
    studies: Annotated[
        list[str] | None,
        typer.Argument(help="Ready studies or study files. Default: all ready studies of that size."),
    ] = None,
    size: Annotated[str, typer.Option(help="Which size of the studies: smoke, small, medium or full.")] = "small",
    data: Annotated[str | None, typer.Option(help="Folder of the images: `data.path` of every study.")] = None,
    data_name: Annotated[str, typer.Option(help="Name of the data on the page.")] = "",
    results: Results = "results",
    out: Annotated[Path, typer.Option(help="Folder for the page and the tables.")] = Path("reproduction"),
    set_: Set = None,
    address: Address = None,
    shared_folder: SharedFolder = False,
) -> None:
    """Train the studies of published experiments, then write each claim with its verdict and each published result.

    Loss landscapes are computed for the claims about them.

    Trials that are in the stores are not trained again. Each size has separate stores, RESULTS/SIZE/STUDY.

    Example: `tune-app reproduce --size small --data cifar10/ --data-name "CIFAR-10"`
    """
    specs = read_all(studies or (), size, [*([f"data.path={data}"] if data else []), *(set_ or ())])
    from analysis import load_study
    from analysis.reproduction.page import write_reproduction
    from search_spaces.metrics import LANDSCAPE_METRICS
    from tune_app.tuning.interruption import termination_is_interruption
    from tune_app.tuning.landscape.compute import compute_landscapes
    from tune_app.tuning.landscape.task import SurfaceSpec
    from tune_app.tuning.runner import run_study
    from tune_app.tuning.session import ray_session

    screen, folder, failed = console(), Folder(results) / size, 0
    with termination_is_interruption(), ray_session(address):
        for number, spec in enumerate(specs, start=1):
            screen.print(f"[{number}/{len(specs)}] {spec.name}: {spec.question}")
            summary = run_study(spec, folder.url, address, shared_folder=shared_folder)
            failed += len(summary.failed)
            _print_summary(screen, summary.trained, summary.already, summary.failed)
            if summary.interrupted:
                screen.print("interrupted: run the same command again to resume")
                raise typer.Exit(130)
            if spec.reference and any(claim.metric in LANDSCAPE_METRICS for claim in spec.reference.claims):
                points, images = SURFACES.get(size, (51, None))
                surface = SurfaceSpec(points=points, images=images)
                compute_landscapes(spec.name, folder.url, surface, all_seeds=True, address=address)
    found = [load_study((folder / spec.name).url) for spec in specs]
    for path in write_reproduction(found, out, data_name, size):
        screen.print(f"wrote {path}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def read_all(studies: Sequence[str], size: str, overrides: Sequence[str]) -> list[StudySpec]:
    """Return the studies at a size; default: every ready study that has it, but for tuned ablations: none is published.

    Raises StudyError if a data path is missing.
    """
    from search_spaces.config import TrialConfig
    from search_spaces.study_files import ready_studies

    ready = {name: read_study(name) for name in ([] if studies else ready_studies())}
    names = list(studies) or [name for name, spec in ready.items() if size in spec.sizes and spec.tune is None]
    if not names:
        raise StudyError(
            f"`--size` is {size!r}, but no ready study has a size of that name; use smoke, small, medium or full"
        )
    but_seeds = [text for text in overrides if text.partition("=")[0].strip() != "seeds"]
    searches = {name for name, spec in ready.items() if spec.mode == "search"}  # which have one seed
    specs = [read_study(name, size, but_seeds if name in searches else overrides) for name in names]
    for spec in specs:
        data = spec.baseline.data if isinstance(spec.baseline, TrialConfig) else None
        if data is not None and data.source in NEEDS_PATH and data.path is None:
            raise StudyError(
                f"`--data` is missing: {spec.name} at size {size} reads a {data.source} source; "
                "give its folder, such as --data cifar10/"
            )
    return specs


def _print_summary(screen: Console, trained: int, already: int, failed: Sequence[tuple[str, str]]) -> None:
    screen.print(f"    trained {trained}, {already} were done before")
    for name, error in failed:
        line = (error.strip().splitlines() or ["no message"])[-1]
        screen.print(f"    failed: {name}: {line}", style="red")
