"""Every family of networks by name, and the one way to build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from search_spaces.trial import ModelConfig
from tune_app.models.layers import ImageClassifier, initialize
from tune_app.models.residual import build_residual

MODELS: Mapping[str, Callable[[ModelConfig, int, int, int], ImageClassifier]] = {
    "resnet": build_residual,
    "plain": build_residual,
}


def build_model(config: ModelConfig, in_channels: int, num_classes: int, resolution: int) -> ImageClassifier:
    """Return the network of ``config`` for images of ``in_channels`` x ``resolution`` x ``resolution``.

    Weights are drawn from torch's global generator.
    """
    model = MODELS[config.family](config, in_channels, num_classes, resolution)
    initialize(model)
    return model
