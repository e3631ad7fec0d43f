"""The effect of each arm so far, while a study is being trained: estimates and numbers of seeds, and no verdict.

Verdicts need the planned seeds. They are computed in `analysis.stats` from the store, and shown by `report`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.metrics import Metric
from search_spaces.plan import Plan

Values = Mapping[str, float | None]


@dataclass(frozen=True)
class ArmSoFar:
    """The mean difference of an arm from the reference over the ``seeds`` that both have; ``planned`` seeds in all."""

    arm: str
    difference: float
    seeds: int
    planned: int


class RunningEffects:
    """Holds the metric of each arm and seed, and the mean paired difference of each arm from the reference.

    Adding a result takes one subtraction; a result of the reference takes one for each arm.
    """

    def __init__(self, plan: Plan, metric: Metric, results: Mapping[str, Values]) -> None:
        """Take in the results, by digest, that the store holds already.

        ``plan``: with the cells that follow from these results. Of a tuned ablation the final cells in it are those of
        the trials that are chosen now: a store that was extended has others of earlier choices.
        """
        self.reference, self.metric = plan.reference_arm, metric
        # A tuned ablation compares the final cells, one for each arm and repeat.
        self._cells = {trial.final.digest: (trial.arm.name, trial.repeat) for trial in plan.tuning} or {
            cell.digest: (cell.arm.name, cell.config.seed) for cell in plan.cells
        }
        self._values: dict[str, dict[int, float]] = {arm.name: {} for arm in plan.arms}
        self._planned = len({seed for _, seed in self._cells.values()})
        self._sums = dict.fromkeys(self._values, 0.0)
        self._pairs = dict.fromkeys(self._values, 0)
        current = {cell.digest for cell in plan.cells}
        for digest, values in results.items():
            if digest in current:
                self.add(digest, values)

    def add(self, digest: str, values: Values) -> None:
        """Take in the metrics of a trial that ended; a cell of no arm, or without a finite figure, changes nothing."""
        value = values.get(self.metric.name)
        if digest not in self._cells or value is None or not math.isfinite(value):
            return
        arm, seed = self._cells[digest]
        if seed in self._values[arm]:
            return
        self._values[arm][seed] = value
        for other in self._values if arm == self.reference else (arm,):
            self._pair(other, seed)

    def _pair(self, arm: str, seed: int) -> None:
        value, reference = self._values[arm].get(seed), self._values[self.reference].get(seed)
        if value is not None and reference is not None:
            self._sums[arm] += value - reference
            self._pairs[arm] += 1

    def arms(self) -> list[ArmSoFar]:
        """Return the arms other than the reference that have a pair, in the order of the plan."""
        return [
            ArmSoFar(arm, self._sums[arm] / pairs, pairs, self._planned)
            for arm, pairs in self._pairs.items()
            if pairs and arm != self.reference
        ]

    def show(self, arm: ArmSoFar) -> str:
        """Return an arm's difference as text, such as "+1.25 points"."""
        unit = f" {self.metric.difference}" if self.metric.difference else ""
        return f"{arm.difference * self.metric.scale:+.{self.metric.digits}f}{unit}"
