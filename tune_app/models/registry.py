"""The registry of network families, the function that builds them, and notes about a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from search_spaces.config.base import is_reference
from search_spaces.config.trial import ModelConfig
from search_spaces.errors import StudyError
from tune_app.models.cnn import build_cnn
from tune_app.models.densenet import build_densenet
from tune_app.models.imagenet import build_imagenet
from tune_app.models.layers import ImageClassifier, initialize, random_layers
from tune_app.models.own import build_own
from tune_app.models.residual import build_residual
from tune_app.models.sites import NormSite, check_sites, norm_sites

MODELS: Mapping[str, Callable[[ModelConfig, int, int, int], ImageClassifier]] = {
    "resnet": build_residual,
    "plain": build_residual,
    "cnn": build_cnn,
    "resnet18": build_imagenet,
    "resnet50": build_imagenet,
    "resnext": build_imagenet,
    "densenet": build_densenet,
}
"""Name in the trial config -> function (config, image channels, classes, resolution) that returns the network."""


def build_model(
    config: ModelConfig, in_channels: int, num_classes: int, resolution: int, seed: int = 0
) -> ImageClassifier:
    """Return the network of ``config`` for images of ``in_channels`` x ``resolution`` x ``resolution``.

    ``seed`` determines the initial weights. Raises StudyError for an impossible combination: images too small
    for the family, groups that do not divide the channels, instance norm of 1x1 images. See `build_own` for a family
    that refers to the user's code or a library, which draws its weights from torch's global generator.
    """
    if is_reference(config.family):
        return build_own(config, in_channels, num_classes, resolution)
    check_sites(config, _sites(config, in_channels, resolution))
    model = MODELS[config.family](config, in_channels, num_classes, resolution)
    initialize(model, seed, he_linear=config.family == "cnn")
    return model


def model_notes(config: ModelConfig, in_channels: int = 3, resolution: int = 32) -> list[str]:
    """Return notes about this config for readers of the study, one sentence each; StudyError as `build_model`.

    There are none for a family that refers to code: this runs in the driver, which never imports the user's code.
    """
    if is_reference(config.family):
        return []
    sites = _sites(config, in_channels, resolution)
    check_sites(config, sites)
    return [*_group_notes(config, sites), *_inactive_notes(config)]


def describe_networks(networks: Sequence[tuple[Mapping[str, Any], int, int, int]]) -> list[dict[str, Any]]:
    """Return notes and randomly initialised weights of each (model config, image channels, resolution, classes).

    ``{"notes": [...], "weights": {name: shape}}``, or ``{"error": message}`` for a network that cannot be built.
    """
    answers: list[dict[str, Any]] = []
    for tree, channels, resolution, classes in networks:
        config = ModelConfig.model_validate(tree)
        try:
            notes = model_notes(config, channels, resolution)
        except StudyError as error:
            answers.append({"error": str(error)})
            continue
        with torch.device("meta"):
            network = build_model(config, channels, classes, resolution)
        weights = {f"{name}.weight": list(layer.weight.shape) for name, layer in random_layers(network)}
        answers.append({"notes": notes, "weights": weights})
    return answers


def _sites(config: ModelConfig, in_channels: int, resolution: int) -> list[NormSite]:
    normed = config.model_copy(update={"norm": "torch_batch"})
    with torch.device("meta"):
        network = MODELS[config.family](normed, in_channels, 1, resolution)
    return norm_sites(network, in_channels, resolution)


def _group_notes(config: ModelConfig, sites: list[NormSite]) -> list[str]:
    if config.norm != "group":
        return []
    if config.norm_groups == 1:
        return ["group norm with 1 group is layer norm"]
    names = [site.name for site in sites if site.channels == config.norm_groups]
    if not names:
        return []
    return [f"group norm with {config.norm_groups} groups is instance norm at {_listed(names)}: one channel per group"]


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more layers"


def _inactive_notes(config: ModelConfig) -> list[str]:
    notes = []
    subtracts_mean = config.norm in ("batch", "torch_batch", "instance", "batch_instance")
    if config.conv_bias and subtracts_mean and config.norm_placement == "conv_norm_relu":
        notes.append(f"a convolution bias before {config.norm} norm has zero gradient: the norm subtracts it")
    if config.zero_init_last_norm and config.norm == "none":
        notes.append("zero_init_last_norm has no effect without norm layers")
    if config.norm == "batch_instance":
        notes.append("batch-instance norm starts as batch norm: every gate is 1")
    return notes
