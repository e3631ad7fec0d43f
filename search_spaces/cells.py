"""The records of a plan: arms, cells, and the trials of the search inside each arm of a tuned ablation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from search_spaces.config.base import Config, digest_of


@dataclass(frozen=True)
class Arm:
    """One combination of levels."""

    name: str
    levels: Mapping[str, str]
    is_baseline: bool
    config: Config

    @cached_property
    def canonical(self) -> dict[str, Any]:
        """What determines the results of its config, whose seed its cells replace."""
        return self.config.canonical()


@dataclass(frozen=True)
class Cell:
    """One arm with one seed: what is trained once."""

    arm: Arm
    config: Config
    digest: str


@dataclass(frozen=True)
class TuningTrial:
    """One trial of the search inside an arm, in a tuned ablation.

    ``arm`` is the arm that is tuned, ``values`` those of the tuned fields. ``cell`` is what is trained,
    ``final`` what is trained in addition if this trial is the best of its arm and repeat.
    """

    arm: Arm
    repeat: int
    trial: int
    values: Mapping[str, Any]
    cell: Cell
    final: Cell


@dataclass(frozen=True)
class Plan:
    """All that an ablation will train.

    Of a tuned ablation ``cells`` are the different cells of its ``tuning``, and the final cells that are known
    (`tuned_plan.with_finals`); ``later`` final cells follow from results.
    """

    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    reference_arm: str
    aliases: tuple[str, ...] = ()
    tuning: tuple[TuningTrial, ...] = ()
    later: int = 0

    @property
    def size(self) -> int:
        """Number of trainings in all."""
        return len(self.cells) + self.later

    def configs(self) -> list[Config]:
        """Return the config of each arm, of a tuned ablation with each of the values that it tries."""
        return [trial.cell.config for trial in self.tuning] or [arm.config for arm in self.arms]

    def possible_cells(self) -> tuple[Cell, ...]:
        """Return every cell that may belong to the study: of a tuned ablation, each trial's final cell, too."""
        found = {cell.digest: cell for cell in self.cells}
        for trial in self.tuning:
            found.setdefault(trial.final.digest, trial.final)
        return tuple(found.values())

    def arm_names(self) -> dict[str, str]:
        """Return the name of the arm that each cell belongs to, by digest; also of every possible final cell."""
        found = {cell.digest: cell.arm.name for cell in self.cells}
        for trial in self.tuning:
            found |= {trial.cell.digest: trial.arm.name, trial.final.digest: trial.arm.name}
        return found


def seeded(arm: Arm, seed: int) -> Cell:
    """Return an arm's cell of a seed."""
    config = arm.config.model_copy(update={"seed": seed})
    return Cell(arm, config, digest_of({**arm.canonical, "seed": seed}))
