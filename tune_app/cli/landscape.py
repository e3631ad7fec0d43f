"""The verb `landscape`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

import typer
from rich.table import Table

from tune_app.cli.common import Results, Study, console
from tune_app.cli.report import store_of


def landscape(
    study: Study,
    cell: Annotated[str | None, typer.Option(help="One trial, by the beginning of its digest.")] = None,
    all_seeds: Annotated[
        bool, typer.Option("--all-seeds", help="Every seed of each arm, not only the first: needed for claims.")
    ] = False,
    points: Annotated[int, typer.Option(help="Points along each direction, an odd number.")] = 51,
    reach: Annotated[float, typer.Option("--range", help="Furthest step along each direction, in filter norms.")] = 1.0,
    split: Annotated[str, typer.Option(help="Images to evaluate: train, val or test.")] = "test",
    images: Annotated[int | None, typer.Option(help="The first images of the split only.", show_default="all")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the directions.", min=0)] = 0,
    orthogonal: Annotated[bool, typer.Option("--orthogonal", help="Make the directions orthogonal.")] = False,
    shared_directions: Annotated[
        bool, typer.Option("--shared-directions", help="Draw the same directions for all models.")
    ] = False,
    address: Annotated[
        str | None, typer.Option(help="Ray to join: auto, or HOST:PORT. A Ray of its own on this machine if left out.")
    ] = None,
    results: Results = "results",
) -> None:
    """Compute the loss landscape of each arm's trained model, and its flatness. Run again to resume.

    Example: `tune-app landscape quickstart --points 21 --images 200`
    """
    from tune_app.tuning.landscape.compute import compute_landscapes
    from tune_app.tuning.landscape.task import SurfaceSpec

    spec = SurfaceSpec(points, reach, split, images, seed, orthogonal, shared_directions)
    store = store_of(study, None, None, results)
    summary = compute_landscapes(
        PurePosixPath(store.root).name, results, spec, cell=cell, all_seeds=all_seeds, address=address
    )
    out = console()
    done = f"computed {summary.computed:,} points" if summary.computed or summary.curvatures else "nothing to compute"
    out.print(
        f"{done} of {summary.models} models; {summary.already:,} were done before; {summary.seconds:.1f} s; "
        f"surface {summary.surface} in {summary.store}",
        soft_wrap=True,
    )
    out.print(_flatness(store.url, summary.surface))


def _flatness(store: str, surface: str) -> Table:
    from analysis import load_study
    from analysis.stats.landscape import flatness

    found = flatness(load_study(store))
    table = Table(caption="lower is flatter", caption_justify="left")
    shown = {
        "loss at the centre": "centre_loss",
        "variance of the Laplacian": "laplacian_variance",
        "inner half": "inner_variance",
        "top eigenvalue": "top_eigenvalue",
        "residual": "residual",
    }
    table.add_column("model")
    for heading in shown:
        table.add_column(heading, justify="right")
    for row in found[found["surface"] == surface].to_dict("records"):
        table.add_row(f"{row['arm']}, seed {row['seed']}", *(f"{row[name]:.4g}" for name in shown.values()))
    return table
