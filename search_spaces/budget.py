"""The budget of a study: what it may use, what that costs, and what has been used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from search_spaces.config.base import Part, must

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Usage:
    """Hours of GPUs and CPUs: training time times the share that a trial was given."""

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0

    @classmethod
    def of(cls, seconds: float | None, gpus: float | None, cpus: float | None) -> Self:
        """Return what a trial used; absent values count as 0."""
        hours = (seconds or 0.0) / SECONDS_PER_HOUR
        return cls(hours * (gpus or 0.0), hours * (cpus or 0.0))

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.gpu_hours + other.gpu_hours, self.cpu_hours + other.cpu_hours)


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum of several usages."""
    return sum(usages, Usage())


class Price(Part):
    """What an hour costs, in any one currency."""

    gpu_hour: float = Field(0.0, ge=0, description="price of an hour of a whole GPU")
    cpu_hour: float = Field(0.0, ge=0, description="price of an hour of a CPU")

    def of(self, usage: Usage) -> float:
        """Return the cost of a usage."""
        return usage.gpu_hours * self.gpu_hour + usage.cpu_hours * self.cpu_hour


@dataclass(frozen=True)
class Limit:
    """One limit of a budget and how much of it is spent, in its unit."""

    name: str
    unit: str
    limit: float
    spent: float

    @property
    def left(self) -> float:
        """What is left; 0 where more was spent."""
        return max(0.0, self.limit - self.spent)

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.spent >= self.limit


class Budget(Part):
    """What a study may use in all, its earlier runs included. A run stops in order when a limit is reached."""

    gpu_hours: float | None = Field(None, gt=0, description="hours of GPUs: training time times the share of a GPU")
    cpu_hours: float | None = Field(None, gt=0, description="hours of CPUs: training time times the CPUs of a trial")
    money: float | None = Field(None, gt=0, description="cost at `price`, in its currency")
    price: Price | None = Field(None, description="what an hour costs: {gpu_hour: 2.5, cpu_hour: 0.05}")

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> Self:
        if self.money is not None and (self.price is None or not (self.price.gpu_hour or self.price.cpu_hour)):
            raise must("price", self.price, "given and above 0, since `money` is limited: {gpu_hour: 2.5}")
        return self

    def cost(self, usage: Usage) -> float | None:
        """Return the cost of a usage; None without a price."""
        return None if self.price is None else self.price.of(usage)

    def limits(self, usage: Usage) -> list[Limit]:
        """Return each limit with what is spent of it."""
        found = (
            ("gpu_hours", "GPU-hours", self.gpu_hours, usage.gpu_hours),
            ("cpu_hours", "CPU-hours", self.cpu_hours, usage.cpu_hours),
            ("money", "money", self.money, self.cost(usage)),
        )
        return [Limit(name, unit, limit, spent or 0.0) for name, unit, limit, spent in found if limit is not None]

    def spent(self, usage: Usage) -> str:
        """Return which limits are spent, in words for a message; "" while something is left of each."""
        gone = [f"{one.name} {one.spent:.4g} of {one.limit:g}" for one in self.limits(usage) if one.is_spent]
        return ", ".join(gone)


def cost_lines(budget: Budget | None, expected: Usage, used: Usage) -> list[str]:
    """Return what a plan says about cost: what is expected, and of each limit what is left; warn where too little."""
    cost = budget.cost(expected) if budget is not None else None
    priced = f", {cost:,.2f} at the study's price" if cost is not None else ""
    lines = [f"expected cost: {expected.gpu_hours:.3g} GPU-hours, {expected.cpu_hours:.3g} CPU-hours{priced}"]
    after = budget.limits(used + expected) if budget is not None else []
    for before, then in zip(budget.limits(used) if budget is not None else [], after, strict=True):
        lines.append(f"budget: {before.name} {before.limit:g}, {before.spent:.3g} spent, {before.left:.3g} left")
        if then.spent > then.limit and then.spent > before.spent:
            share = before.left / (then.spent - before.spent)
            lines.append(f"the budget is too small: {before.name} lasts for about {share:.0%} of what is missing")
    return lines


def pruning_saved(
    seconds: float | None, trained: int | None, planned: int | None, gpus: float | None, cpus: float | None
) -> Usage:
    """Return what a pruned trial would have used in its remaining epochs, at its own time per epoch."""
    if not trained or not planned or planned <= trained:
        return Usage()
    return Usage.of((seconds or 0.0) * (planned - trained) / trained, gpus, cpus)
