"""The trial config: everything that determines one training run, and the digest that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from search_spaces.config.arguments import checked_arguments
from search_spaces.config.base import MAX_SEED, Config, is_reference, must, set_path
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


IMAGE_TRAINING_VERSION = 2
"""Version of what the built-in image-classification training computes. A change that moves results raises it.

2: random draws are keyed by purpose (`tune_app.draws`); ``data.split`` is ``per_seed`` by default, in version 1 it was
``fixed``; all linear layers of the ``cnn`` are initialised after He et al. 2015.
"""


class TrialConfig(Config):
    """Everything that determines one training run of an image classifier."""

    DEFAULT_CHOOSE_BY: ClassVar = "val_accuracy"
    ARGUMENTS: ClassVar = {"model.family": "model.args", "data.source": "data.args"}

    data: DataConfig = Field(default_factory=DataConfig, description="images and splits")
    model: ModelConfig = Field(default_factory=ModelConfig, description="network")
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="optimizer")
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig, description="learning-rate schedule")
    weight_decay_grouping: WeightDecayConfig = Field(default_factory=WeightDecayConfig, description="what decays")
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig, description="augmentation")
    batch_size: int = Field(128, ge=1, le=65536, description="images per optimizer step")
    epochs: int = Field(10, ge=1, le=100_000, description="passes over the training images")
    precision: Precision = Field("auto", description="auto: bfloat16 autocast where the hardware has it")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of split, initial weights, order and augmentation")
    training_version: int = Field(
        IMAGE_TRAINING_VERSION, ge=1, le=IMAGE_TRAINING_VERSION, description="version of the built-in training"
    )
    choose_by: str | None = Field("val_accuracy", description="metric by which the best epoch is chosen")

    @model_validator(mode="before")
    @classmethod
    def _split_of_version_1(cls, tree: Any) -> Any:
        """Complete a config of training version 1, which had a fixed split and no field for it."""
        if not isinstance(tree, Mapping) or tree.get("training_version") != 1:
            return tree
        data = tree.get("data", {})
        return {**tree, "data": {"split": "fixed", **data}} if isinstance(data, Mapping) else tree

    @model_validator(mode="after")
    def _arguments_fit(self) -> Self:
        """Check and complete the arguments of user code by the schemas of this type, where it has them."""
        for place, part, reference in (("model", self.model, self.model.family), ("data", self.data, self.data.source)):
            schema = self.schemas.get(reference) if is_reference(reference) else _NO_ARGUMENTS
            arguments = checked_arguments(f"{place}.args", part.args, schema, reference)
            part.args.clear()
            part.args.update(arguments)
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        if self.schedule.warmup_epochs >= self.epochs and not self.schedule.is_inactive("warmup_epochs"):
            raise must("schedule.warmup_epochs", self.schedule.warmup_epochs, f"below epochs ({self.epochs})")
        return self

    def canonical(self) -> dict[str, Any]:
        """Return what determines the result: inactive fields and the data's path left out."""
        canonical = super().canonical()
        del canonical["data"]["path"]
        if self.data.split == "fixed":
            del canonical["data"]["split"]  # as in version 1, so that its digests stay what they were
        for section in ("data", "model"):
            if not canonical[section].get("args"):
                canonical[section].pop("args", None)
        if self.optimizer.weight_decay == 0 and self.weight_decay_grouping.policy != "three_groups":
            del canonical["weight_decay_grouping"]["policy"]  # nothing decays by any of them
        return canonical


_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


def field_paths() -> dict[str, str]:
    """Return every dotted path of an image-classification config that holds a value, with its description."""
    return TrialConfig.fields()
