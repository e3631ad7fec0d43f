"""Which of a store's trials have a landscape: the completed trainings of the arms that the study has now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from search_spaces._yaml import mapping_in, parse_stored
from search_spaces.data_versions import Trained, of_one_version
from search_spaces.errors import StudyError, nearest
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from_store
from tune_app.tuning.rounds import known_plan
from tune_app.tuning.store.writer import ResultsStore, Stored


def current_arms(store: ResultsStore) -> dict[str, str] | None:
    """Return the arm of each cell of an ablation as it is now, by digest; None for a search, or without a study.yaml.

    Of a tuned ablation these are the final trainings, as far as they are known: the trials of its searches have names
    of their own ("norm=group, trial 3") and are no arms.
    """
    if not store.folder.exists("study.yaml"):
        return None
    place = store.folder.path("study.yaml")
    tree = mapping_in(parse_stored(store.folder.read("study.yaml"), place), place, "the study's keys")
    try:
        spec = study_from_store(tree)
    except StudyError as error:
        raise StudyError(f"{place}: {error}; without arms, name one trial by `--cell`") from None
    if spec.mode == "search":
        return None
    plan = make_plan(spec)
    if plan.tuning:
        finished = store.finished().values()
        plan = known_plan(spec, plan, {t.digest: t.metrics if t.status == "completed" else {} for t in finished})
    searched = {trial.cell.digest for trial in plan.tuning}
    return {cell.digest: cell.arm.name for cell in plan.cells if cell.digest not in searched}


def chosen_trials(
    trials: Sequence[Stored], cell: str | None, all_seeds: bool, arms: Mapping[str, str] | None = None
) -> list[Stored]:
    """Return the completed trials to look at, by arm and seed; StudyError where there are none.

    ``arms``: the arm of each trial, by digest; other trials are taken only where ``cell`` names one. None: all are
    taken, with the arms that they were stored with. Of several versions of the data one counts, as in the report.
    """
    if trials and all(trial.task is not None for trial in trials):
        raise StudyError(
            "this study trains a function of the user, whose loss is not known; loss landscapes are those of networks "
            "that the built-in training trained"
        )
    trials = [trial for trial in trials if trial.task is None]
    if cell is not None:
        return [_named(trials, cell)]
    if arms is not None:
        trials = [replace(trial, arm=arms[trial.digest]) for trial in trials if trial.digest in arms]
    completed = _completed(_of_one_version(trials, latest=arms is None))
    if not completed and arms is not None:
        raise StudyError(
            "no arm of this study, as it is now, has a completed training yet, so there is no trained model to look "
            "around; `--cell` names any other completed trial of the store"
        )
    if not completed:
        raise StudyError("this study has no completed trial yet, so there is no trained model to look around")
    first: dict[str, Stored] = {}
    for trial in completed:
        first.setdefault(trial.arm, trial)
    return completed if all_seeds else list(first.values())


def _named(trials: Sequence[Stored], cell: str) -> Stored:
    """Return the completed trial whose digest begins with ``cell``; StudyError unless there is exactly one."""
    completed = _completed(trials)
    named = [trial for trial in completed if trial.digest.startswith(cell)]
    if len({trial.digest for trial in named}) != 1:
        known = [trial.digest for trial in completed]
        raise StudyError(
            f"`--cell` is {cell!r}, which is {'more than one' if named else 'no'} completed trial of this study"
            f"{nearest(cell, known)}; the trials table has their digests"
        )
    return _of_one_version(named)[0]


def _completed(trials: Sequence[Stored]) -> list[Stored]:
    return sorted((t for t in trials if t.status == "completed"), key=lambda t: (t.arm, t.seed, t.digest))


def _of_one_version(trials: Sequence[Stored], latest: bool = False) -> list[Stored]:
    """Return the trials on the version of the data that counts."""
    ended = [trial.finished_at or 0.0 for trial in trials]
    rows = [Trained(t.digest, t.fingerprint, at, json.dumps(t.config)) for t, at in zip(trials, ended, strict=True)]
    return [trial for trial, counts in zip(trials, of_one_version(rows, latest), strict=True) if counts]
