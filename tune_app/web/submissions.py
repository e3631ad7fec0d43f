"""Studies that clients submit: read from text or plain data, checked, bounded by the server's settings, and planned."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import search_spaces
from analysis.stats.power import smallest_difference
from search_spaces.budget import SECONDS_PER_HOUR, Budget, Usage, cost_lines, total
from search_spaces.errors import StudyError
from search_spaces.plan import Plan, make_plan
from search_spaces.study import StudySpec
from search_spaces.study_files import ready_studies, references_in
from search_spaces.study_parts import AUTO_SHARE
from tune_app.studies import read_study
from tune_app.tuning.rounds import counts_by_arm
from tune_app.web.costs import usage
from tune_app.web.current import results_of
from tune_app.web.index import StudyIndex
from tune_app.web.lines import line_of
from tune_app.web.metrics import info, record
from tune_app.web.problems import mistakes_in
from tune_app.web.run_models import PlannedArm, StudyMistake, StudyPlan, StudySubmission, Validation
from tune_app.web.settings import Settings

FILE = "study.yaml"
PATH_KEYS = frozenset({"path", "data.path"})


def text_of(submission: StudySubmission) -> str:
    """Return the YAML text of a submission: its own, a ready study's, or that of the object."""
    if isinstance(submission.study, dict):
        return yaml.safe_dump(submission.study, sort_keys=False, allow_unicode=True)
    ready = ready_studies()
    return ready[submission.study].read_text() if submission.study in ready else submission.study


def read(submission: StudySubmission, settings: Settings) -> StudySpec:
    """Return the checked study; StudyError with every mistake, or where the server does not allow it."""
    text = text_of(submission)
    with tempfile.TemporaryDirectory(prefix="tune-app-") as folder:
        path = Path(folder) / FILE
        path.write_bytes(text.encode(errors="surrogatepass"))
        try:
            spec = search_spaces.read_study(path, submission.size, submission.overrides)  # looks at no code
            _refuse_user_code(spec, settings)
            if spec.code is not None:
                spec = read_study(path, submission.size, submission.overrides)
        except StudyError as error:
            raise StudyError(str(error).replace(f"{path}: ", "").replace(str(path), FILE)) from None
    _refuse_data_folders(spec, settings)
    _refuse_resources(spec, settings)
    return spec


def _refuse_user_code(spec: StudySpec, settings: Settings) -> None:
    """Refuse a study that names code of its own where the server forbids it."""
    if not settings.user_code and (found := references_in(spec.model_dump(mode="json"), {})):
        raise StudyError(f"`{found[0]}` is code of a user, which this server does not run (--no-user-code)")


def _refuse_data_folders(spec: StudySpec, settings: Settings) -> None:
    if settings.data_folders is None:
        return
    allowed = [Path(folder).resolve() for folder in settings.data_folders]
    tree = spec.model_dump(mode="json")
    for place, value in _paths({name: tree.get(name) for name in ("baseline", "factors", "space", "tune")}):
        if not any(Path(value).expanduser().resolve().is_relative_to(folder) for folder in allowed):
            names = ", ".join(map(str, allowed)) or "none"
            raise StudyError(f"`{place}` is {value!r}, but must be inside a folder that this server allows: {names}")


def _refuse_resources(spec: StudySpec, settings: Settings) -> None:
    gpu = spec.resources.gpu
    asked = {
        "cpu": (spec.resources.cpu, settings.max_cpus),
        "gpu": (AUTO_SHARE if gpu == "auto" else gpu, settings.max_gpus),
    }
    for name, (amount, most) in asked.items():
        if most is not None and float(amount) > most:
            raise StudyError(
                f"`resources.{name}` is {getattr(spec.resources, name)}, but this server gives a trial at most {most:g}"
            )


def _paths(tree: Any, place: str = "", is_path: bool = False) -> Iterator[tuple[str, str]]:
    """Yield each text under a key that names a path, with its place in the study."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            inner = is_path or key in PATH_KEYS or str(key).endswith(".path")
            yield from _paths(value, f"{place}.{key}" if place else str(key), inner)
    elif isinstance(tree, list | tuple):
        for number, value in enumerate(tree):
            yield from _paths(value, f"{place}[{number}]", is_path)
    elif is_path and isinstance(tree, str):
        yield place, tree


def validate(submission: StudySubmission, settings: Settings) -> Validation:
    """Return whether a study is right, with its mistakes and their lines."""
    try:
        spec = read(submission, settings)
    except StudyError as error:
        text = text_of(submission)
        return Validation(valid=False, mistakes=[_with_line(one, text) for one in mistakes_in(str(error))])
    plan = make_plan(spec) if spec.mode == "ablation" else None
    size = {"arms": len(plan.arms), "cells": plan.size} if plan else {"cells": spec.planned_trials()}
    return Validation(valid=True, name=spec.name, question=spec.question, mode=spec.mode, **size)


def _with_line(mistake: StudyMistake, text: str) -> StudyMistake:
    if mistake.line is not None or mistake.path is None:
        return mistake
    return mistake.model_copy(update={"line": line_of(text, mistake.path)})


def plan(spec: StudySpec, stored: StudyIndex | None) -> StudyPlan:
    """Return what running a study would do, given what its store holds already."""
    made = make_plan(spec) if spec.mode == "ablation" else None
    rows = sorted(stored.trials.values(), key=lambda row: row["planned"]) if stored else []  # those that count last
    results = results_of(row for row in rows if row["status"] in ("completed", "diverged"))
    arms = _arms(made, stored, counts_by_arm(spec, made, results)) if made else []
    cells = sum(arm.cells for arm in arms if arm.change != "removed") if made else spec.planned_trials()
    finished = sum(arm.done for arm in arms) if made else min(cells, sum(row["planned"] for row in rows))
    before = {cell.digest for cell in stored.planned.cells} if stored and stored.planned else set()
    now = {cell.digest for cell in made.cells} if made else set()
    seconds = _total_seconds(arms) if made else None
    expected = None if seconds is None else Usage.of(seconds, _gpu_share(spec), spec.resources.cpu)
    difference, spread = _detectable(spec, stored, made) if made else (None, None)
    return StudyPlan(
        name=spec.name,
        question=spec.question,
        mode=spec.mode,
        metric=info(record(spec.metric, spec)),
        seeds=len(spec.seeds),
        replicate=spec.replicate,
        arms=arms,
        cells=cells,
        done=finished,
        missing=cells - finished,
        new_cells=len(now - before) if before else 0,
        removed_cells=len(before - now),
        trial_seconds=seconds,
        **_expected(expected, spec.budget),
        smallest_difference=difference,
        spread=spread,
        aliases=list(made.aliases) if made else [],
        notes=[*_notes(spec, seconds, difference), *_budget_notes(spec.budget, expected, stored)],
    )


def _expected(expected: Usage | None, budget: Budget | None) -> dict[str, float | None]:
    if expected is None:
        return dict.fromkeys(("gpu_seconds", "cpu_seconds", "money"))
    return {
        "gpu_seconds": expected.gpu_hours * SECONDS_PER_HOUR,
        "cpu_seconds": expected.cpu_hours * SECONDS_PER_HOUR,
        "money": budget.cost(expected) if budget is not None else None,
    }


def _budget_notes(budget: Budget | None, expected: Usage | None, stored: StudyIndex | None) -> list[str]:
    """Return what is left of each limit, and whether that is enough for what is expected."""
    if budget is None:
        return []
    used = total(map(usage, stored.trials.values() if stored else ()))
    return cost_lines(budget, expected or Usage(), used)[1:]


def _arms(made: Plan, stored: StudyIndex | None, counts: Mapping[str, tuple[int, int]]) -> list[PlannedArm]:
    """Return the arms of a plan; ``counts``: how many cells each has, and how many of them have ended."""
    before = {arm.name for arm in stored.plan.arms} if stored and stored.plan else None
    times = _seconds_by_arm(stored)
    any_time = statistics.median(times.values()) if times else None
    arms = [
        PlannedArm(
            name=arm.name,
            is_reference=arm.name == made.reference_arm,
            levels=dict(arm.levels),
            cells=counts[arm.name][0],
            done=counts[arm.name][1],
            seconds_per_cell=times.get(arm.name, any_time),
            change="new" if before is not None and arm.name not in before else "same",
        )
        for arm in made.arms
    ]
    gone = (before or set()) - {arm.name for arm in made.arms}
    fields: dict[str, Any] = {"is_reference": False, "levels": {}, "cells": 0, "done": 0, "seconds_per_cell": None}
    return arms + [PlannedArm(name=name, change="removed", **fields) for name in sorted(gone)]


def _seconds_by_arm(stored: StudyIndex | None) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    names = stored.plan.arm_names() if stored and stored.plan else {}
    for row in stored.trials.values() if stored else ():
        if row["status"] == "completed" and row["seconds"]:
            found.setdefault(names.get(row["digest"]) or row["arm"], []).append(row["seconds"])
    return {arm: statistics.median(values) for arm, values in found.items()}


def _total_seconds(arms: list[PlannedArm]) -> float | None:
    left = [(arm.cells - arm.done, arm.seconds_per_cell) for arm in arms if arm.change != "removed"]
    known = [cells * seconds for cells, seconds in left if seconds is not None]
    return sum(known) if len(known) == len(left) else None


def _gpu_share(spec: StudySpec) -> float:
    return float(spec.resources.gpu) if isinstance(spec.resources.gpu, int | float) else 0.0


def _detectable(spec: StudySpec, stored: StudyIndex | None, made: Plan) -> tuple[float | None, float | None]:
    """Return the smallest detectable difference and the observed spread of paired differences it rests on."""
    values: dict[str, dict[int, float]] = {}
    for row in stored.trials.values() if stored else ():
        value = row["metrics"].get(spec.metric)
        if row["status"] == "completed" and row["planned"] and value is not None:
            values.setdefault(row["arm"], {})[row["seed"]] = value
    reference = values.get(made.reference_arm, {})
    spreads = []
    for arm, own in values.items():
        common = own.keys() & reference.keys()
        if arm != made.reference_arm and len(common) >= 2:
            spreads.append(float(np.std([own[seed] - reference[seed] for seed in common], ddof=1)))
    spread = statistics.median(spreads) if spreads else 0.0
    if not spread or len(spec.seeds) < 2 or len(made.arms) < 2:
        return None, spread or None
    return smallest_difference(len(spec.seeds), spread, comparisons=len(made.arms) - 1), spread


def _notes(spec: StudySpec, seconds: float | None, difference: float | None) -> list[str]:
    notes = []
    if len(spec.seeds) < 2:
        notes.append(f"with 1 {spec.replicate} no difference can be distinguished from chance; use 5 or more")
    elif difference is None and spec.mode == "ablation":
        notes.append(
            f"the smallest detectable difference is known once an arm has 2 finished {spec.replicate}s in common with "
            "the reference"
        )
    if seconds is None:
        notes.append("the time is known once a trial of this study has finished; `tune-app plan` measures it before")
    return notes
