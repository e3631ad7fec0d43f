"""The trial config: everything that determines one training run, and the digest that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from search_spaces.config.base import MAX_SEED, Part, must
from search_spaces.config.sections import (
    AugmentationConfig,
    AugmentationPolicy,
    DataConfig,
    DecayPolicy,
    Family,
    ModelConfig,
    Norm,
    OptimizerConfig,
    OptimizerName,
    ScheduleConfig,
    ScheduleKind,
    Source,
    WeightDecayConfig,
)
from search_spaces.errors import StudyError, shown

__all__ = [
    "AugmentationConfig",
    "AugmentationPolicy",
    "DataConfig",
    "DecayPolicy",
    "Family",
    "ModelConfig",
    "Norm",
    "OptimizerConfig",
    "OptimizerName",
    "Precision",
    "ScheduleConfig",
    "ScheduleKind",
    "Source",
    "TrialConfig",
    "WeightDecayConfig",
    "field_paths",
    "set_path",
]

Precision = Literal["auto", "float32", "bfloat16"]


class TrialConfig(Part):
    """Everything that determines one training run."""

    data: DataConfig = Field(default_factory=DataConfig, description="images and splits")
    model: ModelConfig = Field(default_factory=ModelConfig, description="network")
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="optimizer")
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig, description="learning-rate schedule")
    weight_decay_grouping: WeightDecayConfig = Field(default_factory=WeightDecayConfig, description="what decays")
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig, description="augmentation")
    batch_size: int = Field(128, ge=1, le=65536, description="images per optimizer step")
    epochs: int = Field(10, ge=1, le=100_000, description="passes over the training images")
    precision: Precision = Field("auto", description="auto: bfloat16 autocast where the hardware has it")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of weights, order and augmentation")

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        if self.schedule.warmup_epochs >= self.epochs and not self.schedule.is_idle("warmup_epochs"):
            raise must("schedule.warmup_epochs", self.schedule.warmup_epochs, f"below epochs ({self.epochs})")
        return self

    def canonical(self) -> dict[str, Any]:
        """Return what determines the result: idle fields and the data's path left out."""
        canonical: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            canonical[name] = value.canonical() if isinstance(value, Part) else value
        del canonical["data"]["path"]
        if self.optimizer.weight_decay == 0 and self.weight_decay_grouping.policy != "three_groups":
            del canonical["weight_decay_grouping"]["policy"]  # nothing decays by any of them
        return canonical

    def digest(self) -> str:
        """Return the 16 hexadecimal digits that name this trial.

        SHA-256 over canonical JSON (sorted keys), cut to 64 bits: stable across processes, machines and key order.
        """
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_values(self, values: Mapping[str, Any]) -> TrialConfig:
        """Return a checked copy with dotted paths replaced: ``{"model.norm": "group"}``.

        Raises pydantic's ValidationError, located at the path, where a path or a value is refused.
        """
        tree = self.model_dump(mode="json")
        for path, value in values.items():
            set_path(tree, path, value)
        return TrialConfig.model_validate(tree)

    def get(self, path: str) -> Any:
        """Return the value at a dotted path; KeyError where there is none."""
        value: Any = self
        for key in path.split("."):
            if not isinstance(value, Part) or key not in type(value).model_fields:
                raise KeyError(path)
            value = getattr(value, key)
        return value


def set_path(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set ``tree['a']['b']`` for the path ``a.b``, making the mappings on the way; StudyError where it cannot be."""
    *parents, last = path.split(".")
    if not all((*parents, last)):
        raise StudyError(f"`{path}` is not a path: words joined by single dots, such as model.norm")
    for key in parents:
        inner = tree.get(key)
        if inner is not None and not isinstance(inner, dict):
            raise StudyError(f"`{path}` cannot be set: `{key}` is {shown(inner)}, not a mapping with keys of its own")
        if inner is None:
            tree[key] = {}
        tree = tree[key]
    tree[last] = value


def field_paths() -> dict[str, str]:
    """Return every dotted path of a trial config that holds a value, with its description."""
    paths: dict[str, str] = {}
    for name, field in TrialConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            inner = field.annotation.model_fields
            paths |= {f"{name}.{key}": value.description or "" for key, value in inner.items()}
        else:
            paths[name] = field.description or ""
    return paths
