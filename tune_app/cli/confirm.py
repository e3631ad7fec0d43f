"""The verb `confirm`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tune_app.cli.common import Results, Set, Size, Study, console, read_study
from tune_app.cli.report import store_of
from tune_app.cli.run import Address, Inline, SharedFolder, conclude, show_summary


def confirm(
    study: Study,
    size: Size = None,
    set_: Set = None,
    results: Results = "results",
    top: Annotated[int, typer.Option(help="How many of the best configurations.")] = 3,
    seeds: Annotated[int, typer.Option(help="Seeds for each, other than those of the search.")] = 5,
    address: Address = None,
    shared_folder: SharedFolder = False,
    inline: Inline = False,
) -> None:
    """Train the best configurations of a search again, with fresh seeds, against its baseline.

    The result is a study of its own, STUDY-confirm; the report of the search begins with its verdicts.

    Example: `tune-app confirm my-search --top 3 --seeds 5`
    """
    spec = read_study(study, size, set_ or ())
    from analysis import load_study
    from tune_app.confirmation import confirmation_study
    from tune_app.tuning.runner import run_study

    found = load_study(store_of(study, size, set_, results).url)
    confirmation = confirmation_study(spec, found, top, seeds)
    out = console()
    out.print(f"{confirmation.name}: {confirmation.question}", soft_wrap=True)
    executor = "inline" if inline else "ray"
    show = partial(show_summary, out=out)
    summary = run_study(confirmation, results, address, shared_folder=shared_folder, executor=executor, show=show)
    conclude(summary)
    out.print(f"`tune-app report {spec.name}` begins with the verdicts", soft_wrap=True)
