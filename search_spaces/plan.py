"""From a study to its cells: arms by the design, each with every seed, no two alike."""

from __future__ import annotations

import math

from search_spaces import designs
from search_spaces.cells import Arm, Cell, Plan, seeded
from search_spaces.config.defaults import explicit
from search_spaces.errors import StudyError, nearest
from search_spaces.factors import Factor
from search_spaces.space import apply_values
from search_spaces.study import StudySpec
from search_spaces.tuned_plan import distinct_cells, tuning_trials

__all__ = ["MAX_CELLS", "Arm", "Cell", "Plan", "make_plan"]


MAX_CELLS = 100_000


def make_plan(spec: StudySpec) -> Plan:
    """Return the arms and cells of an ablation.

    Raises StudyError where levels cannot be combined, where two arms would train the very same thing, or where the
    study's reference names an arm that is not in the plan.
    """
    factors = spec.read_factors()
    counts = [len(factor.levels) for factor in factors]
    arms = [_arm(spec, factors, row) for row in _rows(spec, counts)]
    _refuse_twins(arms, is_stored=spec.training_version is not None)
    tuning = tuning_trials(spec.tune, arms) if spec.tune is not None else ()
    cells = [seeded(arm, seed) for arm, seed in designs.with_seeds(arms, spec.seeds)] if spec.tune is None else []
    is_fraction = spec.design.kind == "fractional_factorial"
    names = [_short(factor.name, factors) for factor in factors]
    confounded = designs.aliases(counts, spec.design.generator, names) if is_fraction else []
    reference = arms[0] if spec.design.kind == "leave_one_out" else next(arm for arm in arms if arm.is_baseline)
    _refuse_unknown_arms(spec, [arm.name for arm in arms])
    cells += distinct_cells(tuning)
    later = len(arms) * len(spec.seeds) if tuning else 0
    return Plan(tuple(arms), tuple(cells), reference.name, tuple(confounded), tuning, later)


def _rows(spec: StudySpec, counts: list[int]) -> list[designs.Row]:
    """Return the design's rows of level indices, unless they are too many to be meant."""
    kind, generator = spec.design.kind, spec.design.generator
    if kind == "full_factorial":
        _refuse_too_many(math.prod(counts), spec)
    match kind:
        case "one_factor_at_a_time":
            rows = designs.one_factor_at_a_time(counts)
        case "leave_one_out":
            rows = designs.leave_one_out(counts)
        case "full_factorial":
            rows = designs.full_factorial(counts)
        case "fractional_factorial":
            rows = designs.fractional_factorial(counts, generator)
    _refuse_too_many(len(rows), spec)
    return rows


def _arm(spec: StudySpec, factors: tuple[Factor, ...], row: designs.Row) -> Arm:
    chosen = [(factor, factor.levels[index]) for factor, index in zip(factors, row, strict=True)]
    set_here = [level for (_, level), index in zip(chosen, row, strict=True) if index]  # index 0 is the baseline's own
    values = {path: value for level in set_here for path, value in level.values.items()}
    differing = [
        f"{_short(factor.name, factors)}={level.label}"
        for (factor, level), index in zip(chosen, row, strict=True)
        if index or len(factors) == 1
    ]
    name = ", ".join(differing) or "baseline"
    config = apply_values(spec.baseline, values, f"factors, arm {name!r}")
    return Arm(name, {factor.name: level.label for factor, level in chosen}, not any(row), config)


def _short(name: str, factors: tuple[Factor, ...]) -> str:
    """Return a factor's short name where no other factor has it, else its path: norm, schedule, optimizer.lr."""
    last = _short_name(name)
    return last if sum(_short_name(factor.name) == last for factor in factors) == 1 else name


def _short_name(name: str) -> str:
    *parents, last = name.split(".")
    return parents[-1] if parents and last in ("kind", "name", "policy") and parents[-1] != "args" else last


def _refuse_twins(arms: list[Arm], is_stored: bool) -> None:
    """Refuse two arms with one training. Stored studies of earlier releases may have null and its number as levels."""
    seen: dict[str, Arm] = {}
    for arm in arms:
        twin = seen.setdefault((arm.config if is_stored else explicit(arm.config)).digest(), arm)
        if twin is not arm:
            raise StudyError(
                f"arms {twin.name!r} and {arm.name!r} would train the very same thing: a field in which they differ "
                "has no effect there, or null stands for the other's number; drop one of them from `factors`, set the "
                "field in `baseline`, or choose another `design`"
            )


def _refuse_too_many(arms: int, spec: StudySpec) -> None:
    each = len(spec.seeds) * (spec.tune.trials + 1 if spec.tune is not None else 1)
    if arms * each > MAX_CELLS:
        what = "seeds" if spec.tune is None else "trials"
        raise StudyError(
            f"`design` {spec.design.kind} gives {arms:,} arms, with {each:,} {what} "
            f"{arms * each:,} cells, but a study has at most {MAX_CELLS:,}; drop factors, levels or seeds, "
            "or take a smaller design"
        )


def _refuse_unknown_arms(spec: StudySpec, arms: list[str]) -> None:
    for place, name in spec.reference.named_arms() if spec.reference else ():
        if name not in arms:
            names = ", ".join(arms[:12]) + (", ..." if len(arms) > 12 else "")
            raise StudyError(f"`{place}` is {name!r}, which is not an arm of this study{nearest(name, arms)}: {names}")
