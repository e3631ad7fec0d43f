"""The 6n+2-layer residual and plain networks for small images (He et al. 2016, arXiv 1512.03385, section 4.2).

A 3x3 convolution, then three stages of n blocks with two 3x3 convolutions each, of 16, 32 and 64 channels; the second
and third stage halve the sides. The mean over all positions goes to one linear layer. A plain network is the same
without the shortcuts.
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.config.defaults import WIDTHS
from search_spaces.config.trial import ModelConfig
from tune_app.models.layers import GlobalAveragePool, ImageClassifier, Layers


class PaddedIdentity(nn.Module):
    """Shortcut of option A: every ``stride``-th position, then zeros for the additional channels. No parameters."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return images of ``new_channels`` more channels and sides divided by the stride, rounded up."""
        subsampled = x_NCHW[:, :, :: self.stride, :: self.stride]
        return F.pad(subsampled, (0, 0, 0, 0, 0, self.new_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with an optional shortcut.

    With the norm before the ReLU: ``relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))``, as published. With the norm
    after it, each convolution of the branch is followed by ReLU and norm, and the sum is the output of the block:
    ``shortcut(x) + norm(relu(conv(norm(relu(conv(x))))))``. Without a shortcut only the branch, in the same orders.
    """

    def __init__(
        self, layers: Layers, in_channels: int, channels: int, stride: int, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        self.norm_first = layers.norm_first
        self.conv1 = layers.conv(in_channels, channels, 3, stride)
        self.bn1 = layers.norm(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = layers.conv(channels, channels, 3)
        self.bn2 = layers.last_norm(channels) if shortcut is not None else layers.norm(channels)
        self.relu2 = nn.ReLU()
        self.shortcut = shortcut

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the block's output; sides are divided by the stride, rounded up."""
        if self.norm_first:
            branch = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x_NCHW)))))
            out: Tensor = self.relu2(branch if self.shortcut is None else branch + self.shortcut(x_NCHW))
            return out
        branch = self.bn2(self.relu2(self.conv2(self.bn1(self.relu1(self.conv1(x_NCHW))))))
        out = branch if self.shortcut is None else branch + self.shortcut(x_NCHW)
        return out


def projection(layers: Layers, in_channels: int, channels: int, stride: int) -> nn.Module:
    """Return the shortcut of option B: the identity if shapes agree, else a 1x1 convolution and a norm."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    return nn.Sequential(layers.conv(in_channels, channels, 1, stride), layers.norm(channels))


def padded_identity(layers: Layers, in_channels: int, channels: int, stride: int) -> nn.Module:
    """Return the shortcut of option A: the identity, subsampled and zero-padded if shapes differ."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    return PaddedIdentity(channels - in_channels, stride)


def build_residual(config: ModelConfig, in_channels: int, num_classes: int, resolution: int) -> ImageClassifier:
    """Return a ``resnet`` or ``plain`` network of ``config.depth`` layers."""
    layers = Layers(config)
    width = channels = config.width or WIDTHS[config.family]
    parts = {"conv1": layers.conv(in_channels, width, 3), **layers.norm_relu(width)}
    for stage in range(3):
        blocks = []
        for block in range((config.depth - 2) // 6):
            stride = 2 if stage and not block else 1
            blocks.append(_block(layers, channels, width * 2**stage, stride))
            channels = width * 2**stage
        parts[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    features = nn.Sequential(OrderedDict(parts, pool=GlobalAveragePool()))
    return ImageClassifier(features, nn.Linear(channels, num_classes))


def _block(layers: Layers, in_channels: int, channels: int, stride: int) -> BasicBlock:
    if layers.config.family == "plain":
        return BasicBlock(layers, in_channels, channels, stride, shortcut=None)
    connect = projection if layers.config.shortcut == "projection" else padded_identity
    return BasicBlock(layers, in_channels, channels, stride, connect(layers, in_channels, channels, stride))
