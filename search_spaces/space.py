"""A search space: domains by dotted path into a trial config, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from search_spaces.config.base import Config
from search_spaces.domains import Choice, IntRange, LogUniform, Uniform
from search_spaces.errors import StudyError, explain, nearest

MAX_TRIED = 1000


@dataclass(frozen=True)
class SearchSpace:
    """Domains by dotted path, around a baseline that gives all other fields.

    Raises StudyError when it is made if a path is not a field of a trial config, or if the field refuses a value.
    """

    domains: Mapping[str, Choice | IntRange | Uniform | LogUniform]
    baseline: Config

    def __post_init__(self) -> None:
        """Try the values of each domain, or the edges of a large one, one at a time on the baseline."""
        if not self.domains:
            raise StudyError("`space` is empty, but must name at least one field to search over")
        for path, domain in self.domains.items():
            check_path(path, "space", self.baseline)
            few = domain.size is not None and domain.size <= MAX_TRIED
            tried = list(domain.grid() if few else domain.edges())
            if domain.size is None:  # its ends may be whole numbers by chance
                tried.append(domain.sample(np.random.default_rng(0)))
            for value in tried:
                apply_values(self.baseline, {path: value}, f"space.{path}")

    @property
    def size(self) -> int | None:
        """Number of combinations, or None where a domain is continuous."""
        sizes = [domain.size for domain in self.domains.values()]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def count(self, most: int) -> int:
        """Return the number of different trial configs, at most ``most``; ``most`` where a domain is continuous.

        Combinations that are refused do not count, and those that train the same count once, except in a space of more
        than MAX_TRIED.
        """
        if self.size is None or self.size > MAX_TRIED:
            return most if self.size is None else min(most, self.size)
        found: set[str] = set()
        for values in self.grid():
            if len(found) == most:
                break
            with suppress(StudyError):
                found.add(self.config(values).digest())
        return len(found)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Return every combination in turn, the last path moving fastest; StudyError for a continuous domain."""
        for path, domain in self.domains.items():
            if domain.size is None:
                raise StudyError(f"`space.{path}` is continuous, but a grid needs a list or {{int: [low, high]}}")
        return map(self.at, range(self.size or 0))

    def at(self, index: int) -> dict[str, Any]:
        """Return one combination of a finite space, 0 <= ``index`` < ``size``, in the order of `grid`."""
        values = {}
        for path, domain in reversed(list(self.domains.items())):
            index, place = divmod(index, len(domain.grid()))
            values[path] = domain.grid()[place]
        return {path: values[path] for path in self.domains}

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw one combination, each field independently."""
        return {path: domain.sample(rng) for path, domain in self.domains.items()}

    def config(self, values: Mapping[str, Any]) -> Config:
        """Return the baseline with ``values`` in place."""
        return apply_values(self.baseline, values, "space")


def check_path(path: object, place: str, baseline: Config) -> None:
    """Raise StudyError unless ``path`` is a field of the baseline's config that a study may vary."""
    known = baseline.paths()
    if path not in known:
        if any(str(path).startswith(f"{owner}.") for owner in baseline.ARGUMENTS.values()):
            return  # of a reference that only some levels name: refused there, with what its function takes
        examples = ", ".join(list(known)[:3])
        raise StudyError(
            f"`{place}.{path}` is not a field of a trial config{nearest(path, known)}; fields are, for example, "
            f"{examples} (all: `tune-app schema --fields`)"
        )
    remedies = {"seed": "list seeds under `seeds`", "data.path": "make one study for each data set"}
    if path in remedies:
        raise StudyError(f"`{place}.{path}` cannot be varied: {remedies[str(path)]}")


def apply_values(baseline: Config, values: Mapping[str, Any], place: str) -> Config:
    """Return ``baseline`` with ``values`` in place; StudyError that names ``place`` where one is refused."""
    try:
        return baseline.with_values(values)
    except ValidationError as error:
        raise StudyError(f"{explain(error)} (from `{place}`)") from None
