"""The verbs that look before anything is trained: studies, validate, plan, schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tune_app.cli.common import Results, Set, Size, Study, console, read_study

if TYPE_CHECKING:
    from search_spaces.study import StudySpec


def studies() -> None:
    """List the ready studies.

    Example: `tune-app studies`
    """
    from search_spaces.plan import make_plan
    from search_spaces.study_files import ready_studies

    table = Table()
    for heading in ("study", "source", "mode", "arms x seeds", "sizes", "question"):
        table.add_column(heading, no_wrap=heading in ("study", "sizes"))
    for name in ready_studies():
        spec = read_study(name)
        source = f"{spec.reference.source} {spec.reference.table}".strip() if spec.reference else ""
        each = f" x {spec.tune.trials} + 1" if spec.tune is not None else ""
        count = (
            f"{len(make_plan(spec).arms)} x {len(spec.seeds)}{each}"
            if spec.mode == "ablation"
            else f"{spec.planned_trials()}"
        )
        table.add_row(name, source, spec.mode, count, ", ".join(spec.sizes), spec.question)
    console().print(table)


def validate(
    study: Study,
    size: Size = None,
    set_: Set = None,
    try_: Annotated[
        bool, typer.Option("--try", help="Also train two cells for two epochs, interrupt one, and compare the figures.")
    ] = False,
) -> None:
    """Check a study without training anything; exit code 2 and the place of the mistake if it has one.

    Example: `tune-app validate my-study.yaml --try`
    """
    spec = read_study(study, size, set_ or ())
    console().print(f"{spec.name}: valid, {_size_in_words(spec)}")
    if not try_:
        return
    from tune_app.tuning.rehearsal import rehearse

    failed = False
    for found in rehearse(spec):
        console().print(found.text, soft_wrap=True)
        failed |= not found.passed
    if failed:
        raise typer.Exit(1)


def plan(
    study: Study,
    size: Size = None,
    set_: Set = None,
    results: Results = "results",
    time: Annotated[bool, typer.Option(help="Estimate the time, by a few steps of each distinct shape.")] = True,
) -> None:
    """Show arms and cells, which are done, how long the rest takes, and what difference the seeds can detect.

    Example: `tune-app plan quickstart`
    """
    from tune_app.cli import planning

    spec = read_study(study, size, set_ or ())
    out = console()
    out.print(spec.name, style="bold", end=" ")
    out.print(f"({spec.mode}): {spec.question}")
    planning.show(spec, results, time, out)


def schema(
    study: Annotated[
        str | None,
        typer.Argument(help="A study file: the schema is its own, with its code's parameters.", show_default=False),
    ] = None,
    as_schema: Annotated[
        bool, typer.Option("--study/--fields", help="The JSON Schema, or a plain list of fields.")
    ] = True,
) -> None:
    """Print the JSON Schema of a study, for editors, or a list of all fields of a trial config.

    Example: `tune-app schema > study.schema.json`
    """
    from search_spaces.config import TrialConfig
    from search_spaces.study_schema import json_schema

    spec = read_study(study) if study is not None else None
    if as_schema:
        typer.echo(json.dumps(json_schema(spec), indent=2))
        return
    for path, description in (spec.baseline.paths() if spec else TrialConfig.fields()).items():
        typer.echo(f"{path}: {description}")


def _size_in_words(spec: StudySpec) -> str:
    if spec.mode == "search":
        return f"a {spec.search.searcher} search of {spec.planned_trials()} trials over {', '.join(spec.space or {})}"
    from search_spaces.plan import make_plan

    made = make_plan(spec)
    if spec.tune is not None:
        each = f"{spec.tune.trials} trials and 1 final training"
        return f"{len(made.arms)} arms x {spec.tune.repeats} repeats of {each} = {made.size} cells"
    return f"{len(made.arms)} arms x {len(spec.seeds)} seeds = {len(made.cells)} cells"
