"""DenseNet (Huang et al. 2017, arXiv 1608.06993): every layer sees the outputs of all layers before it in its block.

With ``stem: large``, ``norm: torch_batch``, ``dense_bottleneck`` and blocks (6, 12, 24, 16) this is torchvision's
``densenet121``, parameter by parameter and in the same order. With the small stem, a 3x3 convolution alone, and blocks
(16, 16, 16), growth rate 12 and width 24 it is the paper's DenseNet-BC of 100 layers for CIFAR.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from search_spaces.config.defaults import BLOCKS, WIDTHS
from search_spaces.config.trial import ModelConfig
from search_spaces.errors import StudyError
from tune_app.models.layers import GlobalAveragePool, ImageClassifier, Layers

BOTTLENECK = 4


def dense_layer(layers: Layers, in_channels: int, growth_rate: int) -> nn.Sequential:
    """Return norm, ReLU and a 3x3 convolution to ``growth_rate`` channels, preceded by a bottleneck if configured.

    The bottleneck is norm, ReLU and a 1x1 convolution to four growth rates.
    """
    if not layers.config.dense_bottleneck:
        parts = {**layers.norm_relu(in_channels, "norm1"), "conv1": layers.conv(in_channels, growth_rate, 3)}
        return nn.Sequential(OrderedDict(parts))
    middle = BOTTLENECK * growth_rate
    parts = {**layers.norm_relu(in_channels, "norm1"), "conv1": layers.conv(in_channels, middle, 1)}
    parts |= {**layers.norm_relu(middle, "norm2", "relu2"), "conv2": layers.conv(middle, growth_rate, 3)}
    return nn.Sequential(OrderedDict(parts))


class DenseBlock(nn.Module):
    """``count`` layers of ``growth_rate`` channels; (N, C, H, W) -> (N, C + count * growth_rate, H, W)."""

    def __init__(self, layers: Layers, in_channels: int, count: int, growth_rate: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            dense_layer(layers, in_channels + index * growth_rate, growth_rate) for index in range(count)
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the block's input and the outputs of all its layers, concatenated along the channels."""
        for layer in self.layers:
            x_NCHW = torch.cat((x_NCHW, layer(x_NCHW)), dim=1)
        return x_NCHW


def transition(layers: Layers, in_channels: int, channels: int) -> nn.Sequential:
    """Return norm, ReLU, a 1x1 convolution to ``channels`` and average pooling that halves the sides."""
    parts = {**layers.norm_relu(in_channels, "norm", "relu"), "conv": layers.conv(in_channels, channels, 1)}
    return nn.Sequential(OrderedDict(parts, pool=nn.AvgPool2d(2)))


def build_densenet(config: ModelConfig, in_channels: int, num_classes: int, resolution: int) -> ImageClassifier:
    """Return a DenseNet; ``width`` (64) is that of the stem, blocks are (4, 4, 4, 4) where none are given."""
    layers = Layers(config)
    blocks = config.blocks or BLOCKS[config.family]
    _need_resolution(config, resolution, transitions=len(blocks) - 1)
    channels = config.width or WIDTHS[config.family]
    parts = _stem(layers, in_channels, channels)
    for index, count in enumerate(blocks, start=1):
        parts[f"denseblock{index}"] = DenseBlock(layers, channels, count, config.growth_rate)
        channels += count * config.growth_rate
        if index < len(blocks):
            parts[f"transition{index}"] = transition(layers, channels, channels // 2)
            channels //= 2
    parts |= layers.norm_relu(channels, "norm5", "relu5")
    features = nn.Sequential(OrderedDict(parts, pool=GlobalAveragePool()))
    return ImageClassifier(features, nn.Linear(channels, num_classes))


def _stem(layers: Layers, in_channels: int, width: int) -> dict[str, nn.Module]:
    if layers.config.stem == "small":
        return {"conv0": layers.conv(in_channels, width, 3)}
    conv = layers.conv(in_channels, width, 7, stride=2)
    return {"conv0": conv, **layers.norm_relu(width, "norm0", "relu0"), "pool0": nn.MaxPool2d(3, stride=2, padding=1)}


def _need_resolution(config: ModelConfig, resolution: int, transitions: int) -> None:
    smallest = 2**transitions if config.stem == "small" else 4 * 2**transitions - 3
    if resolution < smallest:
        raise StudyError(
            f"`data.resolution` is {resolution}, but a densenet of {transitions + 1} blocks with a {config.stem} stem "
            f"needs {smallest} or more: take fewer `model.blocks`, larger images or the small `model.stem`"
        )
