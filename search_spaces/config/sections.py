"""The parts of a trial config: data, model, optimizer, schedule, weight-decay grouping, augmentation."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from search_spaces.config.base import MAX_SEED, Part, is_reference, must
from search_spaces.errors import nearest

Source = Literal["digits", "cifar10", "cifar100", "fashion_mnist", "parquet", "folder", "synthetic"]
Family = Literal["resnet", "plain", "cnn", "resnet18", "resnet50", "resnext", "densenet"]
Norm = Literal["none", "batch", "torch_batch", "instance", "batch_instance", "layer", "group"]
OptimizerName = Literal["sgd", "nesterov", "adam", "adamw"]
ScheduleKind = Literal["constant", "step", "multistep", "cosine", "onecycle"]
DecayPolicy = Literal["all", "no_bias_or_norm", "by_name", "three_groups"]
AugmentationPolicy = Literal["none", "crop_flip", "randaugment"]

MAX_COUNT = 10**9
MAX_LAYERS = 1_202

_IMAGE_NETS = frozenset({"resnet18", "resnet50", "resnext", "densenet"})
_CIFAR_NETS = frozenset({"resnet", "plain"})
_NORMED = frozenset({"batch", "torch_batch", "instance", "batch_instance", "layer", "group"})


_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[^\s:][^\n]*")


def _builtin_or_reference(kind: Any, example: str) -> AfterValidator:
    """Return the check of a field that is one of our own names, or a reference to the user's code."""
    names = get_args(kind)

    def check(value: str) -> str:
        if value not in names and not (is_reference(value) and _REFERENCE.fullmatch(value)):
            rule = f"one of {', '.join(names)}{nearest(value, names)}, or a reference to your own, such as {example}"
            raise must("", value, rule)
        return value

    return AfterValidator(check)


def _names_or_reference(kind: Any) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"enum": list(get_args(kind))}, {"type": "string", "pattern": "^[A-Za-z_].*:"}]})


SourceName = Annotated[str, _builtin_or_reference(Source, "my_pkg.data:load or hf:FOLDER"), _names_or_reference(Source)]
FamilyName = Annotated[
    str,
    _builtin_or_reference(Family, "my_pkg.nets:TinyViT, timm:resnet18 or torchvision:mobilenet_v3_small"),
    _names_or_reference(Family),
]


class DataConfig(Part):
    """Which images a trial learns from, and how they are split."""

    has_effect: ClassVar = {"split_seed": ("split", frozenset({"fixed"}))}

    source: SourceName = Field(
        "digits", description="where the images come from: a built-in source, my_pkg.data:load or hf:FOLDER"
    )
    args: dict[str, Any] = Field(default_factory=dict, description="arguments of a source of your own")
    path: str | None = Field(
        None,
        description="folder of a parquet or folder source, or download folder of a torchvision source; a name, "
        "not part of the digest: the data's fingerprint says what was trained on",
    )
    train_size: int | None = Field(
        None, ge=1, le=MAX_COUNT, description="training images kept, stratified; all if null"
    )
    validation_fraction: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of the source's training images held out for validation, stratified",
    )
    validation_size: int | None = Field(
        None, ge=1, le=MAX_COUNT, description="validation images kept, stratified, the rest unused; all if null"
    )
    test_size: int | None = Field(None, ge=1, le=MAX_COUNT, description="test images kept, stratified; all if null")
    resolution: int | None = Field(None, ge=4, le=512, description="side in pixels to resize to; as is if null")
    split: Literal["per_seed", "fixed"] = Field(
        "per_seed",
        description="whether each trial seed has its own training and validation images, the same in all arms, so that "
        "intervals contain the noise of the split; fixed: one split for all seeds. Test images never vary",
    )
    split_seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of a fixed split")


class ModelConfig(Part):
    """The network. Fields that a family does not have are inactive there."""

    has_effect: ClassVar = {
        "depth": ("family", _CIFAR_NETS),
        "shortcut": ("family", frozenset({"resnet"})),
        "norm_placement": ("norm", _NORMED),
        "norm_groups": ("norm", frozenset({"group"})),
        "zero_init_last_norm": ("family", frozenset({"resnet", "resnet18", "resnet50", "resnext"})),
        "dropout": ("family", frozenset({"cnn"})),
        "stem": ("family", _IMAGE_NETS),
        "blocks": ("family", _IMAGE_NETS),
        "bottleneck_stride": ("family", frozenset({"resnet50", "resnext"})),
        "groups": ("family", frozenset({"resnext"})),
        "bottleneck_multiplier": ("family", frozenset({"resnext"})),
        "growth_rate": ("family", frozenset({"densenet"})),
        "dense_bottleneck": ("family", frozenset({"densenet"})),
    }

    family: FamilyName = Field(
        "resnet", description="architecture: a built-in family, my_pkg.nets:TinyViT, timm:NAME or torchvision:NAME"
    )
    args: dict[str, Any] = Field(default_factory=dict, description="arguments of a network of your own")
    depth: int = Field(14, ge=1, le=MAX_LAYERS, description="weighted layers of a resnet or plain network: 6n+2")
    width: int | None = Field(None, ge=1, le=2048, description="channels of the first stage; the family's own if null")
    norm: Norm = Field("batch", description="normalization layer")
    norm_groups: int = Field(8, ge=1, le=2048, description="groups of group norm")
    norm_placement: Literal["conv_norm_relu", "conv_relu_norm"] = Field(
        "conv_norm_relu", description="norm before the activation, or after it"
    )
    conv_bias: bool = Field(False, description="whether convolutions have a bias")
    shortcut: Literal["identity", "projection"] = Field(
        "identity", description="He's option A (zero-padded identity) or option B (1x1 convolution)"
    )
    zero_init_last_norm: bool = Field(False, description="start the last norm weight of each residual block at zero")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout before the cnn's linear layers, probability")
    stem: Literal["small", "large"] = Field(
        "small", description="3x3 stride-1 stem for small images, or 7x7/2 with a 3x3/2 max pool"
    )
    blocks: tuple[int, ...] | None = Field(None, strict=False, description="blocks per stage; the family's own if null")
    bottleneck_stride: Literal["v1", "v1.5"] = Field(
        "v1.5", description="a bottleneck strides on its first 1x1 convolution (v1) or on its 3x3 (v1.5)"
    )
    groups: int = Field(32, ge=1, le=2048, description="number of groups of a resnext block's 3x3 convolution")
    bottleneck_multiplier: float = Field(
        0.5, gt=0, le=4, description="width of a resnext bottleneck over the block's output channels"
    )
    growth_rate: int = Field(32, ge=1, le=2048, description="channels that each densenet layer adds")
    dense_bottleneck: bool = Field(False, description="densenet layers with a 1x1 to 4 growth rates (DenseNet-B)")

    def is_inactive(self, field: str) -> bool:
        """Return whether ``field`` cannot change the network: without norms there is no last one to start at zero."""
        if is_reference(self.family):
            return field not in ("family", "args")
        return super().is_inactive(field) or (field == "zero_init_last_norm" and self.norm == "none")

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        if self.family in _CIFAR_NETS and (self.depth < 8 or (self.depth - 2) % 6):
            raise must("depth", self.depth, f"6n+2 for a {self.family} (8, 14, 20, ...)")
        if self.blocks is not None and (not self.blocks or min(self.blocks) < 1 or sum(self.blocks) > MAX_LAYERS):
            raise must("blocks", list(self.blocks), "at least one stage, each with one block or more")
        return self


class OptimizerConfig(Part):
    """How weights follow gradients."""

    has_effect: ClassVar = {
        "momentum": ("name", frozenset({"sgd", "nesterov"})),
        "beta1": ("name", frozenset({"adam", "adamw"})),
        "beta2": ("name", frozenset({"adam", "adamw"})),
    }

    name: OptimizerName = Field("sgd", description="nesterov is SGD with Nesterov momentum")
    lr: float = Field(0.1, gt=0, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD momentum")
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's decay of the first moment")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's decay of the second moment")
    weight_decay: float = Field(5e-4, ge=0, description="L2 coefficient (decoupled for adamw)")
    clip_norm: float | None = Field(None, gt=0, description="largest gradient norm (L2, all parameters); off if null")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.name == "nesterov" and self.momentum == 0:
            raise must("momentum", 0, "above 0 for nesterov")
        return self


class ScheduleConfig(Part):
    """How the learning rate moves. Lengths are in epochs."""

    has_effect: ClassVar = {
        "step_size": ("kind", frozenset({"step"})),
        "milestones": ("kind", frozenset({"multistep"})),
        "gamma": ("kind", frozenset({"step", "multistep"})),
        "interval": ("kind", frozenset({"cosine"})),
        "final_factor": ("kind", frozenset({"cosine"})),
        "pct_start": ("kind", frozenset({"onecycle"})),
        "div_factor": ("kind", frozenset({"onecycle"})),
        "final_div_factor": ("kind", frozenset({"onecycle"})),
        "warmup_epochs": ("kind", frozenset({"constant", "step", "multistep", "cosine"})),
        "warmup_until_train_error": ("kind", frozenset({"constant", "step", "multistep", "cosine"})),
    }

    kind: ScheduleKind = Field("cosine", description="shape of the schedule")
    step_size: int | None = Field(
        None, ge=1, le=MAX_COUNT, description="epochs between steps; a third of all epochs if null"
    )
    milestones: tuple[int, ...] | None = Field(
        None, strict=False, description="epochs after which to step; at 1/2 and 3/4 of all epochs if null"
    )
    gamma: float = Field(0.1, gt=0, lt=1, description="factor of each step")
    interval: Literal["epoch", "step"] = Field(
        "epoch", description="whether cosine moves every epoch or optimizer step"
    )
    final_factor: float = Field(0.0, ge=0, lt=1, description="last learning rate of cosine over the peak")
    pct_start: float = Field(0.3, gt=0, lt=1, description="share of onecycle spent rising")
    div_factor: float = Field(25.0, ge=1, description="peak over first learning rate of onecycle")
    final_div_factor: float = Field(1e4, ge=1, description="first over last learning rate of onecycle")
    warmup_epochs: float = Field(0.0, ge=0, description="epochs of linear rise, step by step, before the schedule")
    warmup_until_train_error: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="He's warm-up: a tenth of the learning rate until the training error is below this",
    )

    @model_validator(mode="after")
    def _milestones_rise(self) -> Self:
        steps = self.milestones
        if steps is not None and (not steps or steps[0] < 1 or list(steps) != sorted(set(steps))):
            raise must("milestones", list(steps), "epochs in rising order, the first at least 1")
        return self


class WeightDecayConfig(Part):
    """Which parameters decay. Policies are partitions of a model's parameters."""

    has_effect: ClassVar = {
        "norm_decay": ("policy", frozenset({"three_groups"})),
        "bias_decay": ("policy", frozenset({"three_groups"})),
    }

    policy: DecayPolicy = Field(
        "no_bias_or_norm",
        description="all: every parameter; no_bias_or_norm: found by module type; by_name: the substrings 'bias' and "
        "'bn' in the name; three_groups: norm affine / biases / the rest, each with a decay of its own",
    )
    norm_decay: float = Field(0.0, ge=0, description="weight decay of norm affine parameters")
    bias_decay: float = Field(0.0, ge=0, description="weight decay of convolution and linear biases")


class AugmentationConfig(Part):
    """What is done to training images, with new draws in every epoch."""

    has_effect: ClassVar = {
        "padding": ("policy", frozenset({"crop_flip", "randaugment"})),
        "flip": ("policy", frozenset({"crop_flip", "randaugment"})),
        "operations": ("policy", frozenset({"randaugment"})),
        "magnitude": ("policy", frozenset({"randaugment"})),
    }

    policy: AugmentationPolicy = Field(
        "none", description="crop_flip: pad, crop at random, mirror; randaugment: the same after RandAugment"
    )
    padding: int = Field(4, ge=0, le=64, description="zero pixels padded on each side before the random crop")
    flip: bool = Field(True, description="whether to mirror half of the images; wrong for digits and letters")
    operations: int = Field(2, ge=1, le=8, description="RandAugment's N, operations per image")
    magnitude: int = Field(9, ge=0, le=30, description="RandAugment's M, strength on its scale of 0 to 30")
