"""From the `tune` section to trainings: the trials of each arm and repeat, and the final cell that follows from them.

Which final cells a study has depends on results, so it is computed from the plan and what has ended, wherever it is
needed: by the run that trains them, and by the analysis that reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from search_spaces.cells import Arm, Cell, Plan, TuningTrial, seeded
from search_spaces.errors import StudyError, nearest
from search_spaces.factors import label
from search_spaces.space import MAX_TRIED, apply_values, check_path
from search_spaces.tune import FIRST_FINAL_SEED, Tune

Ended = Mapping[str, float | None]
"""Digest -> what a trial that has ended reached in the metric that chooses; None where it gave no result."""


def tuning_trials(tune: Tune, arms: Sequence[Arm]) -> tuple[TuningTrial, ...]:
    """Return the trials of every arm: by repeat, then by trial, then by arm.

    Trial 0 has the arm's own values. Raises StudyError where an arm refuses a value of a tuned field, where `extra`
    names no arm, or where two arms differ in tuned fields alone.
    """
    _check(tune, arms)
    points = {
        (arm.name, repeat): [_own_values(tune, arm), *tune.points(arm.name, repeat)]
        for arm in arms
        for repeat in range(tune.repeats)
    }
    return tuple(
        _trial(arm, repeat, trial, points[arm.name, repeat][trial])
        for repeat in range(tune.repeats)
        for trial in range(tune.trials)
        for arm in arms
    )


def _own_values(tune: Tune, arm: Arm) -> dict[str, Any]:
    return {path: arm.config.get(path) for path in tune.domains(arm.name)}


def _trial(arm: Arm, repeat: int, trial: int, values: Mapping[str, Any]) -> TuningTrial:
    config = apply_values(arm.config, values, f"tune, arm {arm.name!r}")
    levels = {**arm.levels, **{path: _text(value) for path, value in values.items()}}
    tried = Arm(f"{arm.name}, trial {trial}", levels, False, config)
    final = Arm(arm.name, levels, arm.is_baseline, config)
    return TuningTrial(arm, repeat, trial, values, seeded(tried, repeat), seeded(final, FIRST_FINAL_SEED + repeat))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else label(value)


def distinct_cells(tuning: Iterable[TuningTrial]) -> list[Cell]:
    """Return the cells of the trials; one that several trials have (a point drawn twice) is trained once."""
    found: dict[str, Cell] = {}
    for trial in tuning:
        found.setdefault(trial.cell.digest, trial.cell)
    return list(found.values())


def with_finals(plan: Plan, ended: Ended, higher_is_better: bool) -> Plan:
    """Return the plan with the final cells that are known: those of the arms and repeats whose trials have all ended.

    A plan without a search inside its arms is returned as it is.
    """
    finals = [trial.final for trial in chosen_trials(plan, ended, higher_is_better)]
    return replace(plan, cells=(*plan.cells, *finals), later=plan.later - len(finals))


def chosen_trials(plan: Plan, ended: Ended, higher_is_better: bool) -> list[TuningTrial]:
    """Return the best trial of each arm and repeat whose trials have all ended, the earliest of equals.

    Where none of them gave a result it is trial 0: its final cell then records the loss.
    """
    groups: dict[tuple[str, int], list[TuningTrial]] = {}
    for trial in plan.tuning:
        groups.setdefault((trial.arm.name, trial.repeat), []).append(trial)
    sign = 1.0 if higher_is_better else -1.0

    def rank(trial: TuningTrial) -> float:
        value = ended[trial.cell.digest]
        return float("-inf") if value is None else sign * value

    whole = [trials for trials in groups.values() if all(trial.cell.digest in ended for trial in trials)]
    return [max(trials, key=rank) for trials in whole]


def containing_arms(tune: Tune, arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return (arm, other) where the arm's search contains the other's: with enough trials it cannot do worse.

    So it is where the arm, with fields of its own `extra` at values inside their domains, is the other arm.
    """
    found = []
    for arm in (arm for arm in arms if arm.name in tune.extra):
        own = tune.extra[arm.name]
        for other in arms:
            if other.name == arm.name or not set(tune.extra.get(other.name, ())) <= set(own):
                continue
            try:
                values = {path: domain.find(other.config.get(path)) for path, domain in own.items()}
            except KeyError:
                continue
            if apply_values(arm.config, values, "tune.extra").digest() == other.config.digest():
                found.append((arm.name, other.name))
    return found


def _check(tune: Tune, arms: Sequence[Arm]) -> None:
    names = [arm.name for arm in arms]
    for name in tune.extra:
        if name not in names:
            known = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise StudyError(
                f"`tune.extra` names {name!r}, which is not an arm of this study{nearest(name, names)}: {known}"
            )
    for arm in arms:
        for place, path, values in _tried(tune, arm):
            check_path(path, place, arm.config)
            for value in values:
                apply_values(arm.config, {path: value}, f"{place}.{path}, arm {arm.name!r}")
            if not _has(arm, path):
                raise StudyError(
                    f"`{place}.{path}` is no field of arm {arm.name!r}; tune it under `tune.extra` of arms that have it"
                )
    _refuse_twins(tune, arms)


def _tried(tune: Tune, arm: Arm) -> Iterator[tuple[str, str, Iterable[Any]]]:
    for path, domain in tune.domains(arm.name).items():
        place = "tune.space" if path in tune.space else f"tune.extra.{arm.name}"
        few = domain.size is not None and domain.size <= MAX_TRIED
        yield place, path, domain.grid() if few else domain.edges()


def _has(arm: Arm, path: str) -> bool:
    try:
        arm.config.get(path)
    except KeyError:
        return False
    return True


def _refuse_twins(tune: Tune, arms: Sequence[Arm]) -> None:
    """Refuse two arms that become one when they are tuned: they differ only in fields that both of them tune."""
    seen: dict[str, Arm] = {}
    for arm in arms:
        domains = tune.domains(arm.name)
        values = {path: domain.edges()[0] for path, domain in domains.items()}
        key = f"{apply_values(arm.config, values, 'tune').digest()} {sorted(domains)}"
        twin = seen.setdefault(key, arm)
        if twin is not arm:
            raise StudyError(
                f"arms {twin.name!r} and {arm.name!r} differ only in fields that both of them tune, so they are one; "
                "drop the factor, or do not tune its fields"
            )
