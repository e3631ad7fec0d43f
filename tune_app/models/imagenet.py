"""Residual networks of four stages: ResNet-18 and ResNet-50, ResNeXt.

He et al. 2016 (arXiv 1512.03385), Xie et al. 2017 (arXiv 1611.05431).

A stem, stages of blocks (each stage but the first halves the sides), the mean over all positions, one linear layer.
With ``stem: large``, ``norm: torch_batch`` and the defaults they are torchvision's ``resnet18``, ``resnet50`` and
``resnext50_32x4d``, parameter by parameter and in the same order.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from search_spaces.config.defaults import BLOCKS, WIDTHS
from search_spaces.config.trial import ModelConfig
from search_spaces.errors import StudyError
from tune_app.models.layers import GlobalAveragePool, ImageClassifier, Layers
from tune_app.models.residual import BasicBlock, projection

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1 convolution to ``middle`` channels, 3x3 in ``groups`` groups, 1x1 to ``channels``, and a shortcut.

    Norm, ReLU and sum are ordered as in ``BasicBlock``. The stride is the 3x3 convolution's (v1.5) or that of the
    first 1x1 (v1, as published).
    """

    def __init__(self, layers: Layers, in_channels: int, middle: int, channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.norm_first = layers.norm_first
        first, second = (stride, 1) if layers.config.bottleneck_stride == "v1" else (1, stride)
        self.conv1 = layers.conv(in_channels, middle, 1, first)
        self.bn1 = layers.norm(middle)
        self.relu1 = nn.ReLU()
        self.conv2 = layers.conv(middle, middle, 3, second, groups)
        self.bn2 = layers.norm(middle)
        self.relu2 = nn.ReLU()
        self.conv3 = layers.conv(middle, channels, 1)
        self.bn3 = layers.last_norm(channels)
        self.relu3 = nn.ReLU()
        self.shortcut = projection(layers, in_channels, channels, stride)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the block's output; sides are divided by the stride, rounded up."""
        out: Tensor
        if self.norm_first:
            middle = self.relu1(self.bn1(self.conv1(x_NCHW)))
            middle = self.relu2(self.bn2(self.conv2(middle)))
            out = self.relu3(self.bn3(self.conv3(middle)) + self.shortcut(x_NCHW))
            return out
        middle = self.bn1(self.relu1(self.conv1(x_NCHW)))
        middle = self.bn2(self.relu2(self.conv2(middle)))
        out = self.bn3(self.relu3(self.conv3(middle))) + self.shortcut(x_NCHW)
        return out


def stem(layers: Layers, in_channels: int, width: int) -> dict[str, nn.Module]:
    """Return the named first layers: 3x3 convolution (small) or 7x7/2 and a 3x3/2 max pool (large), norm and ReLU."""
    if layers.config.stem == "small":
        return {"conv1": layers.conv(in_channels, width, 3), **layers.norm_relu(width)}
    conv = layers.conv(in_channels, width, 7, stride=2)
    return {"conv1": conv, **layers.norm_relu(width), "maxpool": nn.MaxPool2d(3, stride=2, padding=1)}


def build_imagenet(config: ModelConfig, in_channels: int, num_classes: int, resolution: int) -> ImageClassifier:
    """Return ``resnet18``, ``resnet50`` or ``resnext``; ``width`` (64) is that of the stem, doubled at every stage."""
    layers = Layers(config)
    width = channels = config.width or WIDTHS[config.family]
    parts = stem(layers, in_channels, width)
    for stage, count in enumerate(config.blocks or BLOCKS[config.family]):
        blocks: list[nn.Module] = []
        for block in range(count):
            blocks.append(_block(layers, channels, width * 2**stage, stride=2 if stage and not block else 1))
            channels = width * 2**stage * (1 if config.family == "resnet18" else EXPANSION)
        parts[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    features = nn.Sequential(OrderedDict(parts, pool=GlobalAveragePool()))
    return ImageClassifier(features, nn.Linear(channels, num_classes))


def _block(layers: Layers, in_channels: int, width: int, stride: int) -> nn.Module:
    if layers.config.family == "resnet18":
        return BasicBlock(layers, in_channels, width, stride, projection(layers, in_channels, width, stride))
    if layers.config.family == "resnet50":
        return Bottleneck(layers, in_channels, width, EXPANSION * width, stride, groups=1)
    groups = layers.config.groups
    return Bottleneck(layers, in_channels, _resnext_middle(layers.config, width), EXPANSION * width, stride, groups)


def _resnext_middle(config: ModelConfig, width: int) -> int:
    middle = EXPANSION * width * config.bottleneck_multiplier
    if middle != int(middle) or int(middle) % config.groups:
        raise StudyError(
            f"`model.groups` is {config.groups}, but must divide the {middle:g} channels of a resnext bottleneck "
            f"(4 x {width} x `model.bottleneck_multiplier` {config.bottleneck_multiplier:g})"
        )
    return int(middle)
