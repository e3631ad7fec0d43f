"""Which arm a stored row belongs to, by its digest and the study as it is now.

The names that a row was stored with are those of the study at that time: a factor more, a renamed level or another
design changes them. So the digest decides, and names are derived from the current plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.config.base import Config
from search_spaces.errors import StudyError
from search_spaces.plan import Plan, make_plan
from search_spaces.space import SearchSpace
from search_spaces.study import StudySpec


@dataclass(frozen=True)
class Identity:
    """What a row is in the current study; ``repeat``, ``trial`` and ``is_final`` are of tuned ablations."""

    arm: str
    levels: Mapping[str, Any]
    is_baseline: bool
    repeat: int = -1
    trial: int = -1
    is_final: bool = False


@dataclass(frozen=True)
class Row:
    """What identifies a stored row: its digest and its trial config as plain data."""

    digest: str
    config: Mapping[str, Any]


def identify(spec: StudySpec, rows: Iterable[Row]) -> tuple[dict[str, Identity], str | None]:
    """Return what each row is in the current study, by digest, and the reference arm (None for a search).

    A row that the current study does not have is left out. Raises StudyError for a study that cannot be planned.
    """
    if spec.mode == "search":
        return _of_space(spec, spec.search_space(), rows), None
    plan = make_plan(spec)
    if plan.tuning:
        return _of_trials(plan, rows), plan.reference_arm
    cells = {cell.digest: Identity(cell.arm.name, cell.arm.levels, cell.arm.is_baseline) for cell in plan.cells}
    return {row.digest: cells[row.digest] for row in rows if row.digest in cells}, plan.reference_arm


def _of_trials(plan: Plan, rows: Iterable[Row]) -> dict[str, Identity]:
    """Return what each row is in a tuned ablation: a trial of an arm's search, or a possible final cell."""
    known: dict[str, Identity] = {}
    for trial in plan.tuning:
        arm, place = trial.arm, (trial.repeat, trial.trial)
        known.setdefault(trial.cell.digest, Identity(arm.name, arm.levels, arm.is_baseline, *place))
        known.setdefault(trial.final.digest, Identity(arm.name, arm.levels, arm.is_baseline, *place, is_final=True))
    return {row.digest: known[row.digest] for row in rows if row.digest in known}


def _of_space(spec: StudySpec, space: SearchSpace, rows: Iterable[Row]) -> dict[str, Identity]:
    seed = {"seed": spec.seeds[0]}
    baseline = spec.baseline.model_copy(update=seed).digest()
    found = {}
    for row in rows:
        try:
            values = {path: domain.find(value_at(row.config, path)) for path, domain in space.domains.items()}
            digest = space.config(values).model_copy(update=seed).digest()
        except (KeyError, StudyError):
            continue
        if digest == row.digest:
            found[digest] = Identity(values_name(values), values, digest == baseline)
    return found


def value_at(config: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path of plain data; KeyError where there is none."""
    value: Any = config
    for name in path.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(path)
        value = value[name]
    return value


def values_name(values: Mapping[str, Any]) -> str:
    """Return the display name of a search's trial: "lr=0.0123, norm=batch"."""
    return ", ".join(f"{path.rsplit('.', 1)[-1]}={_shown(value)}" for path, value in values.items())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def why_other(spec: StudySpec, config: Mapping[str, Any]) -> str:
    """Return why the current study does not have a row with this config."""
    reasons = {
        "training_version": "trained by another version of the built-in training",
        "code": "trained with another version of your code",
        "choose_by": "its best epoch was chosen by another metric",
    }
    for name, reason in reasons.items():
        own, default = getattr(spec.baseline, name), Config.model_fields[name].default
        stored = config.get(name, default)
        if name == "choose_by":
            own, stored = own or spec.baseline.DEFAULT_CHOOSE_BY, stored or spec.baseline.DEFAULT_CHOOSE_BY
        if stored != own:
            return reason
    return "not a cell of the current study"
