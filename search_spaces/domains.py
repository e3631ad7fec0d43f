"""Domains: the sets of values that a field may take in a search."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, field_validator, model_validator

from search_spaces.config.base import Part, must
from search_spaces.errors import shown

MAX_INT = 2**53
MAX_VALUES = 1000
"""Values of a list: each is tried on the baseline when a study is read."""


class Choice(Part):
    """One of several unordered values."""

    kind: Literal["choice"] = "choice"
    values: tuple[Any, ...] = Field(strict=False, description="the values")

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise must("", [], "a list of at least one value")
        if len(values) > MAX_VALUES:
            raise must("", f"{len(values):,} values", f"a list of at most {MAX_VALUES:,} values")
        for i, value in enumerate(values):
            if any(value == other and type(value) is type(other) for other in values[:i]):
                raise must("", list(values), f"a list without duplicates ({shown(value)} is given twice)")
        return values

    @property
    def size(self) -> int | None:
        """Number of values."""
        return len(self.values)

    def grid(self) -> tuple[Any, ...]:
        """Return every value."""
        return self.values

    def edges(self) -> tuple[Any, ...]:
        """Return the values to validate; if they are allowed, the whole domain is."""
        return self.values

    def find(self, value: Any) -> Any:
        """Return the domain's own value that equals ``value`` as stored in JSON; KeyError where there is none."""
        for own in self.values:
            if own == value or json.dumps(own, default=str) == json.dumps(value, default=str):
                return own
        raise KeyError(value)

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw one value, all equally likely."""
        return self.values[int(rng.integers(len(self.values)))]

    def at(self, fraction: float) -> Any:
        """Return the value at a fraction of the list, 0 <= ``fraction`` < 1."""
        return self.values[int(fraction * len(self.values))]


class _Range(Part):
    low: float = Field(description="smallest value")
    high: float = Field(description="largest value")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise must("", [self.low, self.high], "two different numbers, the smaller first")
        return self

    @property
    def size(self) -> int | None:
        """None: a continuous range has no finite number of values."""
        return None

    def edges(self) -> tuple[Any, ...]:
        """Return the smallest and the largest value."""
        return (self.low, self.high)

    def find(self, value: Any) -> Any:
        """Return ``value``; KeyError where it is not a number within the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise KeyError(value)
        return value


class IntRange(_Range):
    """Whole numbers from low to high, both included, in steps."""

    kind: Literal["int"] = "int"
    low: int = Field(ge=-MAX_INT, le=MAX_INT, description="smallest value")
    high: int = Field(ge=-MAX_INT, le=MAX_INT, description="largest value, if the steps reach it")
    step: int = Field(1, ge=1, le=MAX_INT, description="distance between neighbouring values")

    @property
    def size(self) -> int | None:
        """Number of values."""
        return len(self.grid())

    def grid(self) -> range:
        """Return every value."""
        return range(self.low, self.high + 1, self.step)

    def edges(self) -> tuple[Any, ...]:
        """Return the smallest and the largest value that the steps reach."""
        return (self.grid()[0], self.grid()[-1])

    def find(self, value: Any) -> int:
        """Return ``value``, which a field of real numbers stores as 3.0; KeyError where the range does not reach it."""
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not is_whole or int(value) not in self.grid():
            raise KeyError(value)
        return int(value)

    def sample(self, rng: np.random.Generator) -> int:
        """Draw one value, all equally likely."""
        return self.grid()[int(rng.integers(len(self.grid())))]

    def at(self, fraction: float) -> int:
        """Return the value at a fraction of the grid, 0 <= ``fraction`` < 1."""
        return self.grid()[int(fraction * len(self.grid()))]


class Uniform(_Range):
    """Real numbers from low to high, uniformly distributed."""

    kind: Literal["uniform"] = "uniform"

    def grid(self) -> tuple[float, ...]:
        """Refuse: a continuous range has no grid (ValueError)."""
        raise must("", [self.low, self.high], "a list or an int range in a grid search")

    def sample(self, rng: np.random.Generator) -> float:
        """Draw one value from the uniform distribution."""
        return float(rng.uniform(self.low, self.high))

    def at(self, fraction: float) -> float:
        """Return the value at a fraction of the range, to six digits."""
        return self._rounded(self.low + fraction * (self.high - self.low))

    def _rounded(self, value: float) -> float:
        """Return a value of the range to six digits: so it is the same on every machine, and so is its digest."""
        return min(max(float(f"{value:.6g}"), self.low), self.high)


class LogUniform(Uniform):
    """Real numbers from low to high, with uniformly distributed logarithms."""

    kind: Literal["loguniform"] = "loguniform"  # type: ignore[assignment]

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.low <= 0:
            raise must("", [self.low, self.high], "above 0 in a loguniform range")
        return self

    def sample(self, rng: np.random.Generator) -> float:
        """Draw one value whose logarithm is uniform."""
        return float(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))

    def at(self, fraction: float) -> float:
        """Return the value at a fraction of the range of logarithms, to six digits."""
        low, high = math.log(self.low), math.log(self.high)
        return self._rounded(math.exp(low + fraction * (high - low)))


_KINDS = ("choice", "int", "uniform", "loguniform")


def _from_short(value: Any) -> Any:
    """Accept the short notations ``[a, b]``, ``{loguniform: [1e-3, 1]}``, ``{int: [8, 64, 8]}``."""
    if isinstance(value, list | tuple):
        return {"kind": "choice", "values": value}
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _KINDS:
        kind, spec = next(iter(value.items()))
        if kind == "choice":
            return {"kind": kind, "values": spec}
        if isinstance(spec, list) and 2 <= len(spec) <= (3 if kind == "int" else 2):
            return {"kind": kind} | dict(zip(("low", "high", "step"), spec, strict=False))
        raise must("", value, f"{{{kind}: [low, high]}}" + (" or {int: [low, high, step]}" if kind == "int" else ""))
    if isinstance(value, Part) or (isinstance(value, dict) and value.get("kind") in _KINDS):
        return value
    raise must("", value, "a list of values or one of {int: [low, high]}, {uniform: ...}, {loguniform: ...}")


Domain = Annotated[
    Annotated[Choice | IntRange | Uniform | LogUniform, Field(discriminator="kind")], BeforeValidator(_from_short)
]
