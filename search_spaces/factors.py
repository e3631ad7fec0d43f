"""Factors and their levels, as a study names them: a field with values, or a bundle of fields with named settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from search_spaces.catalog import CATALOG
from search_spaces.config.base import Config
from search_spaces.domains import MAX_VALUES, Choice
from search_spaces.errors import StudyError, explain, nearest, shown
from search_spaces.space import apply_values, check_path

MAX_NAME = 64


@dataclass(frozen=True)
class Level:
    """One setting of a factor: its label, and the fields that it sets."""

    label: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Factor:
    """What a study varies. The baseline's own level comes first."""

    name: str
    levels: tuple[Level, ...]


def read_factors(factors: Mapping[str, Any] | None, baseline: Config) -> tuple[Factor, ...]:
    """Return the factors of a study, each level tried on the baseline.

    ``factors`` maps a dotted path to a list of values, or a name of one's own to named levels, each a mapping from
    paths to values. Raises StudyError at the place of a mistake.
    """
    found = tuple(_factor(name, levels, baseline) for name, levels in (factors or {}).items())
    owner: dict[str, str] = {}
    for factor in found:
        for path in {path for level in factor.levels for path in level.values}:
            if owner.setdefault(path, factor.name) != factor.name:
                raise StudyError(
                    f"`factors.{owner[path]}` and `factors.{factor.name}` both set {path}, but a field belongs to one "
                    "factor; make them one factor with named levels"
                )
    return found


def expand_names(entries: Sequence[Any], place: str) -> dict[str, Any]:
    """Return the catalog's domains for a list of its names."""
    expanded: dict[str, Any] = {}
    for name in entries:
        if not isinstance(name, str) or name not in CATALOG:
            raise StudyError(
                f"`{place}` names {shown(name)}, which is not in the catalog{nearest(name, CATALOG)}; "
                f"it has {', '.join(CATALOG)}; a field of a trial config needs its values: "
                f"`{place}: {{model.depth: [8, 14]}}`"
            )
        if place == "factors" and any(domain.size is None for domain in CATALOG[name].values()):
            raise StudyError(f"`factors` names {name!r}, a continuous range that only a search can use; list levels")
        expanded |= CATALOG[name]
    return expanded


def _factor(name: str, levels: Any, baseline: Config) -> Factor:
    place = f"factors.{name}"
    is_bundle = isinstance(levels, Mapping)
    if is_bundle:
        found = _bundle(name, levels, baseline)
    else:
        check_path(name, "factors", baseline)
        found = [Level(label(value), {name: value}) for value in _distinct_values(place, levels)]
    for level in found:
        apply_values(baseline, level.values, f"{place}.{level.label}" if is_bundle else place)
    own = next((level for level in found if baseline.with_values(level.values) == baseline), None)
    if own is None:
        own = Level("baseline" if is_bundle else label(_own_value(baseline, name)), {})
        if any(level.label == own.label for level in found):
            raise StudyError(f"`{place}` has a level called {own.label!r} that differs from the baseline; rename it")
    if found == [own]:
        raise StudyError(f"`{place}` has only the baseline's own level {own.label!r}; give one that differs")
    return Factor(name, (own, *(level for level in found if level is not own)))


def _bundle(name: str, levels: Mapping[Any, Any], baseline: Config) -> list[Level]:
    place = f"factors.{name}"
    if not name.strip() or len(name) > MAX_NAME:
        raise StudyError(f"`factors` has the name {shown(name)}, but a name must be of 1 to {MAX_NAME} characters")
    if not 1 <= len(levels) <= MAX_VALUES:
        raise StudyError(f"`{place}` has {len(levels):,} levels, but must have 1 to {MAX_VALUES:,}")
    for own, values in levels.items():
        if not isinstance(own, str) or not own.strip() or len(own) > MAX_NAME:
            raise StudyError(f"`{place}` has a level {shown(own)}, but a level's name must be text (quote it)")
        if not isinstance(values, Mapping):
            raise StudyError(
                f"`{place}.{own}` is {shown(values)}, but must map fields to values: {{model.depth: 20}}; "
                "levels without names are a list: [a, b]"
            )
        for path in values:
            check_path(path, f"{place}.{own}", baseline)
    return [Level(own, dict(values)) for own, values in levels.items()]


def _distinct_values(place: str, levels: Any) -> tuple[Any, ...]:
    if not isinstance(levels, list | tuple):
        raise StudyError(f"`{place}` is {shown(levels)}, but must be a list of levels: [a, b]")
    try:
        return Choice(values=tuple(levels)).values
    except ValidationError as error:
        raise StudyError(explain(error).replace("`values`", f"`{place}`")) from None


def label(value: Any) -> str:
    """Return a level's value as a person would write it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _own_value(baseline: Config, path: str) -> Any:
    """Return the baseline's value; null for an argument that the baseline's own code does not take."""
    try:
        return baseline.get(path)
    except KeyError:
        return None
