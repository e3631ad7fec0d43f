"""Hand-written normalization layers.

All of them compute ``y = scale * x + shift``, where scale and shift follow from the mean and the variance of a set of
activations. Each set is a union of planes (one channel of one instance), so the moments of every plane are computed
once and then pooled:

===============  ===================================================  ==============================
layer            set that shares a mean and a variance                paper
===============  ===================================================  ==============================
batch            a channel of all instances                           Ioffe & Szegedy 2015, 1502.03167
instance         a channel of one instance                            Ulyanov et al. 2016, 1607.08022
batch_instance   a learned mixture of the two                         Nam & Kim 2018, 1805.07925
layer            all channels of one instance                         Ba et al. 2016, 1607.06450
group            a group of adjacent channels of one instance         Wu & He 2018, 1803.08494
===============  ===================================================  ==============================

Shapes: N instances, C channels, H x W positions. Moments are ``(N, C)`` or, if they are equal along a dimension,
``(1, C)`` or ``(N, 1)``. Statistics are computed in float32 or float64; the output has the input's dtype, as with
torch.nn under autocast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from search_spaces.config.trial import ModelConfig
from search_spaces.errors import StudyError
from tune_app.models.planes import Moments, plane_moments, scale_shift

EPS = 1e-5
MOMENTUM = 0.1


def pooled(moments: Moments, dim: int) -> Moments:
    """Return the mean and the biased variance of the union of equally large sets along ``dim`` (``keepdim``).

    The law of total variance: the mean of the variances plus the variance of the means.
    """
    means, variances = moments
    mean = means.mean(dim, keepdim=True)
    return mean, (variances + (means - mean).square()).mean(dim, keepdim=True)


def pooled_over_groups(moments: Moments, groups: int) -> Moments:
    """Return moments ``(N, C)`` pooled over each of ``groups`` groups of adjacent channels."""
    instances, channels = moments[0].shape
    shape = (instances, groups, channels // groups)
    mean, variance = pooled((moments[0].reshape(shape), moments[1].reshape(shape)), dim=2)
    return mean.expand(shape).flatten(1), variance.expand(shape).flatten(1)


def standardizing(moments: Moments) -> tuple[Tensor, Tensor]:
    """Return the scale and the shift that give values with these moments mean 0 and variance 1 (up to eps)."""
    mean, variance = moments
    scale = torch.rsqrt(variance + EPS)
    return scale, -mean * scale


class HandNorm(nn.Module, ABC):
    """A norm layer for (N, C, H, W): standardize, then scale and shift each channel by its weight and bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    @abstractmethod
    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images to normalise, and the scale and the shift that standardize them."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the normalized images, in the shape, dtype and memory format of ``x_NCHW``."""
        wide = x_NCHW.to(torch.promote_types(x_NCHW.dtype, torch.float32))
        wide, scale, shift = self.standardizer(wide)
        return scale_shift(wide, self.weight * scale, self.weight * shift + self.bias).to(x_NCHW.dtype)

    def extra_repr(self) -> str:
        """Return what ``print(model)`` shows in the parentheses."""
        return str(self.channels)


class BatchNorm(HandNorm):
    """Batch norm: moments of the batch in training, their running estimates in evaluation.

    Normalises with the biased variance and updates the running estimate with the unbiased one, as torch.nn does.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images, and scale and shift ``(1, C)``; in training also update the running estimates."""
        if not self.training:
            return x_NCHW, *standardizing((self.running_mean[None], self.running_var[None]))
        x_NCHW, planes = plane_moments(x_NCHW)
        return x_NCHW, *standardizing(self.batch_moments(planes, x_NCHW.numel() // self.channels))

    def batch_moments(self, planes: Moments, count: int) -> Moments:
        """Return plane moments pooled over the batch, ``count`` values a channel; update the running estimates."""
        if count == 1:
            raise _single_value("batch", "one 1x1 image a batch")
        mean, variance = pooled(planes, dim=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean[0].to(self.running_mean.dtype), MOMENTUM)
            self.running_var.lerp_((variance[0] * (count / (count - 1))).to(self.running_var.dtype), MOMENTUM)
        return mean, variance


class InstanceNorm(HandNorm):
    """Instance norm: moments of each instance, in training and in evaluation."""

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images, and scale and shift ``(N, C)``."""
        need_positions(x_NCHW)
        x_NCHW, planes = plane_moments(x_NCHW)
        return x_NCHW, *standardizing(planes)


class BatchInstanceNorm(BatchNorm):
    """Batch-instance norm: ``weight * (gate * BN(x) + (1 - gate) * IN(x)) + bias``, a gate in [0, 1] per channel.

    The gate starts at 1 (pure batch norm). As in Nam & Kim 2018 it is clipped after every optimizer step
    (``project_parameters``) and has ten times the learning rate and no weight decay; the trainer reads these from the
    attributes ``lr_scale`` and ``no_decay`` of the parameter. The instance part uses the moments of each instance in
    evaluation too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gate = nn.Parameter(torch.ones(channels))
        self.gate.lr_scale = 10.0  # type: ignore[attr-defined]
        self.gate.no_decay = True  # type: ignore[attr-defined]

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images, and scale and shift ``(N, C)``, interpolated by the gate."""
        need_positions(x_NCHW)
        x_NCHW, planes = plane_moments(x_NCHW)
        if self.training:
            batch = self.batch_moments(planes, x_NCHW.numel() // self.channels)
        else:
            batch = self.running_mean[None], self.running_var[None]
        batch_scale, batch_shift = standardizing(batch)
        scale, shift = standardizing(planes)
        gate = self.gate
        return x_NCHW, gate * batch_scale + (1 - gate) * scale, gate * batch_shift + (1 - gate) * shift


class LayerNorm(HandNorm):
    """Layer norm over the channels and positions of an instance; weight and bias are per channel."""

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images, and scale and shift ``(N, 1)``."""
        x_NCHW, planes = plane_moments(x_NCHW)
        return x_NCHW, *standardizing(pooled(planes, dim=1))


class GroupNorm(HandNorm):
    """Group norm: moments over ``groups`` groups of adjacent channels and the positions of one instance."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels)
        assert channels % groups == 0, f"{groups} groups of {channels} channels"
        self.groups = groups

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images, and scale and shift ``(N, C)``."""
        if x_NCHW.numel() == self.groups:
            raise _single_value("group", "one 1x1 image, groups of one channel")
        x_NCHW, planes = plane_moments(x_NCHW)
        return x_NCHW, *standardizing(pooled_over_groups(planes, self.groups))

    def extra_repr(self) -> str:
        """Return what ``print(model)`` shows in the parentheses."""
        return f"{self.channels}, groups={self.groups}"


def need_positions(x_NCHW: Tensor) -> None:
    """Raise StudyError for images of a single position: their instance norm is always zero."""
    if x_NCHW.shape[2] * x_NCHW.shape[3] == 1:
        raise _single_value("instance", "1x1 images")


def _single_value(norm: str, what: str) -> StudyError:
    return StudyError(
        f"{norm} norm was given a single value to normalise ({what}), and its output would be zero: "
        "use a larger `batch_size`, a larger `data.resolution` or another `model.norm`"
    )


NORMS: Mapping[str, Callable[[ModelConfig, int], nn.Module]] = {
    "none": lambda config, channels: nn.Identity(),
    "batch": lambda config, channels: BatchNorm(channels),
    "torch_batch": lambda config, channels: nn.BatchNorm2d(channels, eps=EPS, momentum=MOMENTUM),
    "instance": lambda config, channels: InstanceNorm(channels),
    "batch_instance": lambda config, channels: BatchInstanceNorm(channels),
    "layer": lambda config, channels: LayerNorm(channels),
    "group": lambda config, channels: GroupNorm(channels, config.norm_groups),
}
"""Name in the trial config -> function (config, channels) that returns the layer."""

NORM_TYPES: tuple[type[nn.Module], ...] = (
    HandNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
"""All types of norm layers, hand-written and torch's, for ``isinstance``."""


def project_parameters(model: nn.Module) -> None:
    """Clip every batch-instance gate to [0, 1], in place; call it after each optimizer step."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, BatchInstanceNorm):
                module.gate.clamp_(0.0, 1.0)
