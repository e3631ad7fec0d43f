"""Layers shared by all families: convolutions and norms as configured, and the classifier that contains them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.config.trial import ModelConfig
from tune_app.draws import keyed_generator
from tune_app.models.norms import NORMS


class ImageClassifier(nn.Module):
    """A network in two parts: ``features`` maps images (N, C, H, W) to (N, D), ``head`` maps those to logits (N, K)."""

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        logits: Tensor = self.head(self.features(x_NCHW))
        return logits


@dataclass(frozen=True)
class Layers:
    """Builds the layers of a network with the bias, the norm and the norm placement of the config."""

    config: ModelConfig

    def conv(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
        """Return a convolution with padding such that a stride of 1 preserves the size."""
        bias = self.config.conv_bias
        return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias)

    def norm(self, channels: int) -> nn.Module:
        """Return the config's norm for ``channels`` channels."""
        return NORMS[self.config.norm](self.config, channels)

    def last_norm(self, channels: int) -> nn.Module:
        """Return the last norm of a residual branch, with weight zero if ``zero_init_last_norm`` is set."""
        norm = self.norm(channels)
        if self.config.zero_init_last_norm and self.config.norm != "none":
            nn.init.zeros_(norm.get_parameter("weight"))
        return norm

    @property
    def norm_first(self) -> bool:
        """Whether the norm is between convolution and ReLU; also true if there is no norm."""
        return self.config.norm == "none" or self.config.norm_placement == "conv_norm_relu"

    def norm_relu(self, channels: int, norm: str = "bn1", relu: str = "relu1") -> dict[str, nn.Module]:
        """Return a norm and a ReLU under these names, in the order of the config."""
        pair = {norm: self.norm(channels), relu: nn.ReLU()}
        return pair if self.norm_first else dict(reversed(pair.items()))


class GlobalAveragePool(nn.Module):
    """The mean over all positions: (N, C, H, W) -> (N, C)."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the channel means (N, C)."""
        return x_NCHW.mean((2, 3))


def random_layers(model: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    """Return the layers whose weight starts at random, with their names; all other parameters start as constants."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def initialize(model: nn.Module, seed: int, he_linear: bool) -> None:
    """Initialise weights by ``seed``, name and shape, and set the biases of all layers to zero.

    Each weight has a generator of its own, so networks with one seed share every weight of equal name and shape.
    Convolutions, and linear layers if ``he_linear``, are initialised after He et al. 2015 (normal, fan-out, ReLU),
    other linear layers uniformly within 1/sqrt(fan-in), torch's default. Norm layers start as the identity map.
    """
    for name, module in random_layers(model):
        if module.weight.is_meta:
            continue
        generator = keyed_generator(seed, "weights", f"{name}.weight", str(tuple(module.weight.shape)))
        if isinstance(module, nn.Conv2d) or he_linear:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        else:
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
