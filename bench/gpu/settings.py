"""What every part is given: the device, the size, the folders and the time; and the trainings that parts share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from bench.training import synthetic_arrays
from search_spaces.config.trial import (
    AugmentationPolicy,
    DecayPolicy,
    Family,
    Norm,
    OptimizerName,
    ScheduleKind,
    TrialConfig,
)
from tune_app.data import ImageArrays

SIZES = ("full", "smoke")
Values = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """``end``: when to begin nothing new, in seconds of `time.time`. ``data``: folder of a copy of CIFAR-10."""

    device: torch.device
    size: str
    out: Path
    end: float
    earlier: tuple[Path, ...] = ()
    data: Path | None = None

    @property
    def smoke(self) -> bool:
        """Whether this is only a test of the program."""
        return self.size == "smoke"

    @property
    def seconds_left(self) -> float:
        """Seconds until nothing new is begun."""
        return self.end - time.time()


def small_arrays(settings: Settings) -> ImageArrays:
    """Return a few noise images of CIFAR's size: four steps of an epoch at the full size, two for a test."""
    return synthetic_arrays(64 if settings.smoke else 256)


def small_config(settings: Settings, values: Values) -> TrialConfig:
    """Return the config of a small network in float32 with some fields changed."""
    base = {
        "model.depth": 8,
        "model.width": 4 if settings.smoke else 16,
        "model.norm_groups": 2,
        "model.groups": 4,
        "batch_size": 32 if settings.smoke else 64,
        "optimizer.lr": 0.02,
        "epochs": 2,
        "precision": "float32",
        "augmentation.policy": "none",
    }
    return TrialConfig().with_values(base | values)


def variants() -> Iterator[tuple[str, Values]]:
    """Yield a name and config values for every built-in component, one changed at a time.

    The cnn is without dropout, which draws on the device, so that its draws are not those of the CPU.
    """
    for family in get_args(Family):
        values = {"model.family": family, "model.norm": "torch_batch", "model.blocks": (1, 1), "model.dropout": 0.0}
        yield f"family {family}", values
    yield "stem large", {"model.family": "resnet18", "model.blocks": (1, 1), "model.stem": "large"}
    for norm in get_args(Norm):
        yield f"norm {norm}", {"model.norm": norm}
    for optimizer in get_args(OptimizerName):
        values = {"optimizer.name": optimizer, "optimizer.lr": 0.001 if "adam" in optimizer else 0.02}
        yield f"optimizer {optimizer}", values | {"optimizer.clip_norm": 1.0}
    for policy in get_args(DecayPolicy):
        yield f"decay {policy}", {"weight_decay_grouping.policy": policy, "optimizer.weight_decay": 0.01}
    for kind in get_args(ScheduleKind):
        yield f"schedule {kind}", {"schedule.kind": kind}
    for augmentation in get_args(AugmentationPolicy):
        yield f"augmentation {augmentation}", {"augmentation.policy": augmentation}
