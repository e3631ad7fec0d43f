"""The plain convolutional network of four convolutions and two linear layers."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from search_spaces.config.defaults import WIDTHS
from search_spaces.config.trial import ModelConfig
from tune_app.models.layers import ImageClassifier, Layers


def build_cnn(config: ModelConfig, in_channels: int, num_classes: int, resolution: int) -> ImageClassifier:
    """Return the ``cnn``: four times 3x3 convolution, 2x2 max pool, norm and ReLU; then dropout and two linear layers.

    With ``norm_placement: conv_relu_norm`` the order is convolution, pool, ReLU, norm. The convolutions have 1, 2, 4
    and 8 times ``width`` (32) channels, the hidden linear layer as many as the last. Max pooling is omitted where it
    would reduce the sides below 2, so that small images are possible too.
    """
    layers = Layers(config)
    width = config.width or WIDTHS[config.family]
    channels, side = in_channels, resolution
    parts: dict[str, nn.Module] = {}
    for index in range(1, 5):
        out = width * 2 ** (index - 1)
        parts[f"conv{index}"] = layers.conv(channels, out, 3)
        if side >= 4:
            parts[f"pool{index}"] = nn.MaxPool2d(2)
            side //= 2
        parts |= layers.norm_relu(out, f"bn{index}", f"relu{index}")
        channels = out
    features = nn.Sequential(OrderedDict(parts, flatten=nn.Flatten()))
    hidden = nn.Linear(channels * side * side, channels)
    head = nn.Sequential(nn.Dropout(config.dropout), hidden, nn.ReLU(), nn.Linear(channels, num_classes))
    return ImageClassifier(features, head)
