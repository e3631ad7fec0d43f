"""The Python API: run and plan studies from a notebook or a script."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from search_spaces.errors import StudyError
from search_spaces.plan import Plan, make_plan
from search_spaces.study import StudySpec
from tune_app.function_objects import with_references
from tune_app.studies import read_study, study_from_tree
from tune_app.user_code import CodeSource, code_source

if TYPE_CHECKING:
    from analysis import StudyResults

Study = str | Path | Mapping[str, Any] | StudySpec


def run(
    study: Study,
    results: str | Path = "results",
    *,
    executor: Literal["ray", "inline"] = "ray",
    size: str | None = None,
    overrides: Sequence[str] = (),
    address: str | None = None,
    shared_folder: bool = False,
    accept_code: bool = False,
) -> StudyResults:
    """Train what the results store of a study lacks, and return the loaded results.

    ``study``: a file, a ready study's name, plain data, or a `StudySpec`. In plain data, ``task.run``, ``model.family``
    and ``data.source`` may be function objects. ``executor``: ``ray``, or ``inline`` for this process: a debugger
    works, Ray is not needed, the figures are the same. ``address``: a Ray to join; ``shared_folder``: every node of it
    sees ``results``. Other arguments are those of the command line. Raises StudyError for mistakes, and where every
    trial failed.
    """
    from analysis import load_study
    from tune_app.tuning.runner import run_study

    if executor not in ("ray", "inline"):
        raise StudyError(f"`executor` is {executor!r}, but must be 'ray' or 'inline'")
    spec, source = _read(study, size, overrides)
    summary = run_study(
        spec,
        str(results),
        address,
        shared_folder=shared_folder,
        executor=executor,
        code=source,
        accept_code=accept_code,
    )
    if summary.budget_spent:
        message = f"the budget is spent ({summary.budget_spent}); raise `budget` and run again to train the rest"
        warnings.warn(message, stacklevel=2)
    if summary.failed and not summary.counts["completed"]:
        arm, error = summary.failed[0]
        raise StudyError(f"every trial failed; the first was {arm}: {error}")
    return load_study(summary.store)


def confirm(
    study: Study,
    results: str | Path = "results",
    *,
    top: int = 3,
    seeds: int = 5,
    executor: Literal["ray", "inline"] = "ray",
    size: str | None = None,
    overrides: Sequence[str] = (),
    address: str | None = None,
    shared_folder: bool = False,
) -> StudyResults:
    """Train the ``top`` best configurations of a stored search again, with fresh ``seeds``, against its baseline.

    Returns the loaded results of the study ``<search>-confirm``, whose `analysis.effects` are the verdicts. Arguments
    are those of `run`. Raises StudyError where the study is no search, or has no trial trained in full.
    """
    from analysis import load_study
    from tune_app.confirmation import confirmation_study
    from tune_app.tuning.runner import run_study

    spec, source = _read(study, size, overrides)
    confirmation = confirmation_study(spec, load_study(f"{results}/{spec.name}"), top, seeds)
    summary = run_study(
        confirmation, str(results), address, shared_folder=shared_folder, executor=executor, code=source
    )
    return load_study(summary.store)


def plan(study: Study, *, size: str | None = None, overrides: Sequence[str] = ()) -> Plan:
    """Return the arms and cells of an ablation; StudyError for mistakes."""
    return make_plan(_read(study, size, overrides)[0])


def _read(study: Study, size: str | None, overrides: Sequence[str]) -> tuple[StudySpec, CodeSource | None]:
    """Return the checked study, and where its code is where that is not the study's own folder."""
    if isinstance(study, StudySpec):
        if size is not None or overrides:
            raise StudyError("`size` and `overrides` are for studies that are files or plain data, not for a StudySpec")
        return study, None
    if not isinstance(study, Mapping):
        return read_study(study, size, overrides), None
    tree, objects, root = with_references(study)
    spec = study_from_tree(tree, root, size, overrides, objects)
    if not objects:
        return spec, None
    found = code_source(spec)
    return spec, replace(found, objects=tuple(objects.items()))
