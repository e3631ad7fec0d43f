"""What null stands for in fields of an image classifier: numbers that follow from its other fields."""

from __future__ import annotations

import math
from collections.abc import Mapping

from search_spaces.config.base import Config
from search_spaces.config.trial import TrialConfig

WIDTHS: Mapping[str, int] = {
    "resnet": 16,
    "plain": 16,
    "cnn": 32,
    "resnet18": 64,
    "resnet50": 64,
    "resnext": 64,
    "densenet": 64,
}
"""Family -> its own ``width``."""

BLOCKS: Mapping[str, tuple[int, ...]] = {
    "resnet18": (2, 2, 2, 2),
    "resnet50": (3, 4, 6, 3),
    "resnext": (3, 4, 6, 3),
    "densenet": (4, 4, 4, 4),
}
"""Family -> its own ``blocks``, where it has any."""


def step_size(epochs: int) -> int:
    """Return the epochs between the steps of a step schedule: a third of all, rounded up."""
    return math.ceil(epochs / 3)


def milestones(epochs: int) -> tuple[int, ...]:
    """Return the epochs after which a multistep schedule steps: 1/2 and 3/4 of all, rounded up."""
    return tuple(sorted({math.ceil(epochs / 2), math.ceil(epochs * 3 / 4)}))


def explicit(config: Config) -> Config:
    """Return a config that trains the same, with numbers in place of these nulls; its digest is another."""
    if not isinstance(config, TrialConfig):
        return config
    model, schedule = config.model, config.schedule
    own = {"width": model.width or WIDTHS.get(model.family), "blocks": model.blocks or BLOCKS.get(model.family)}
    steps = {
        "step_size": schedule.step_size or step_size(config.epochs),
        "milestones": schedule.milestones or milestones(config.epochs),
    }
    return config.model_copy(
        update={"model": model.model_copy(update=own), "schedule": schedule.model_copy(update=steps)}
    )
