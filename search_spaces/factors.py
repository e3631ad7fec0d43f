"""Factors and their levels, as a study names them: a field with values, or a bundle of fields with named settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from search_spaces.catalog import CATALOG
from search_spaces.domains import Choice
from search_spaces.errors import StudyError, explain, nearest
from search_spaces.space import apply_values, check_path
from search_spaces.trial import TrialConfig


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


def read_factors(factors: Mapping[str, Any] | list[str] | None, baseline: TrialConfig) -> tuple[Factor, ...]:
    """Return the factors of a study, each level tried on the baseline.

    ``factors`` maps a dotted path to a list of values, or a name of one's own to named levels, each a mapping from
    paths to values; or it lists names of the catalog. Raises StudyError at the place of a mistake.
    """
    return tuple(_factor(name, levels, baseline) for name, levels in expand_names(factors or {}, "factors").items())


def expand_names(entries: Mapping[str, Any] | list[str], place: str) -> dict[str, Any]:
    """Return ``entries`` with a list of catalog names replaced by the catalog's domains."""
    if isinstance(entries, Mapping):
        return dict(entries)
    expanded: dict[str, Any] = {}
    for name in entries:
        if name not in CATALOG:
            raise StudyError(
                f"`{place}` names {name!r}, which is not in the catalog{nearest(name, CATALOG)}; "
                f"it has {', '.join(CATALOG)}"
            )
        expanded |= CATALOG[name]
    return expanded


def _factor(name: str, levels: Any, baseline: TrialConfig) -> Factor:
    place = f"factors.{name}"
    if isinstance(levels, Mapping):
        found = _bundle(place, levels)
    else:
        check_path(name, "factors")
        found = [Level(label(value), {name: value}) for value in _distinct_values(place, levels)]
    for level in found:
        apply_values(baseline, level.values, place)
    own = next((level for level in found if _is_baseline(level, baseline)), None)
    if own is None:
        own = Level("baseline" if isinstance(levels, Mapping) else label(baseline.get(name)), {})
    if len(found) == 1 and found[0] is own:
        raise StudyError(f"`{place}` has only the baseline's own level {own.label!r}; give one that differs")
    return Factor(name, (own, *(level for level in found if level is not own)))


def _bundle(place: str, levels: Mapping[str, Any]) -> list[Level]:
    if not levels:
        raise StudyError(f"`{place}` has no levels, but must have at least one")
    for name, values in levels.items():
        if not isinstance(values, Mapping):
            raise StudyError(f"`{place}.{name}` is {values!r}, but must map fields to values: {{model.depth: 20}}")
        for path in values:
            check_path(path, f"{place}.{name}")
    return [Level(str(name), dict(values)) for name, values in levels.items()]


def _distinct_values(place: str, levels: Any) -> tuple[Any, ...]:
    if isinstance(levels, Choice):
        return levels.values
    if not isinstance(levels, list):
        raise StudyError(f"`{place}` is {levels!r}, but must be a list of levels: [a, b]")
    try:
        return Choice(values=tuple(levels)).values
    except ValidationError as error:
        message = explain(error).replace("`values`", f"`{place}`")
        raise StudyError(message.replace("at least one value", "a list of at least one level")) from None


def _is_baseline(level: Level, baseline: TrialConfig) -> bool:
    return baseline.with_values(level.values) == baseline


def label(value: Any) -> str:
    """Return a level's value as a person would write it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
