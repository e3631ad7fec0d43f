"""Normalization layers, written out by hand.

All of them are one formula, ``y = scale * x + shift``, where scale and shift come from the mean and the variance of a
set of activations. The sets differ, and every one of them is a union of the (instance, channel) planes of the input, so
the moments of each plane are taken once and then pooled:

===============  ===================================================  ==============================
layer            set that shares a mean and a variance                paper
===============  ===================================================  ==============================
batch            a channel of all instances                           Ioffe & Szegedy 2015, 1502.03167
instance         a channel of one instance                            Ulyanov et al. 2016, 1607.08022
batch_instance   a learned mixture of the two                         Nam & Kim 2018, 1805.07925
layer            all channels of one instance                         Ba et al. 2016, 1607.06450
group            a group of adjacent channels of one instance         Wu & He 2018, 1803.08494
===============  ===================================================  ==============================

Shapes: N instances, C channels, H x W positions. Moments are ``(N, C)``, pooled ones ``(1, C)`` or ``(N, C)``.
Statistics are computed in float32 at least, and the output has the dtype of the input, as in torch.nn under autocast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from search_spaces.errors import StudyError
from search_spaces.trial import ModelConfig

EPS = 1e-5
MOMENTUM = 0.1


def plane_moments(x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the biased variance of every (instance, channel) plane, both ``(N, C)``."""
    mean = x_NCHW.mean((2, 3), keepdim=True)
    variance = (x_NCHW - mean).square().mean((2, 3))
    return mean[:, :, 0, 0], variance


def pooled(mean: Tensor, variance: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the moments of the union of equally large sets along ``dim``, which stays with length 1.

    The law of total variance: the mean of the variances plus the variance of the means.
    """
    total_mean = mean.mean(dim, keepdim=True)
    return total_mean, (variance + (mean - total_mean).square()).mean(dim, keepdim=True)


def pooled_over_groups(mean: Tensor, variance: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Return moments ``(N, C)`` pooled over each of ``groups`` runs of adjacent channels."""
    shape = (mean.shape[0], groups, mean.shape[1] // groups)
    group_mean, group_variance = pooled(mean.reshape(shape), variance.reshape(shape), dim=2)
    return group_mean.expand(shape).flatten(1), group_variance.expand(shape).flatten(1)


class _AffineNorm(nn.Module, ABC):
    """``y = (x - mean) / sqrt(variance + eps) * weight + bias`` with a weight and a bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    @abstractmethod
    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift, each ``(1, C)`` or ``(N, C)``, that standardize ``x_NCHW``."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the normalized images, in the shape, dtype and memory format of ``x_NCHW``."""
        wide = x_NCHW.to(torch.promote_types(x_NCHW.dtype, torch.float32))
        scale, shift = self.standardizer(wide)
        scale, shift = self.weight * scale, self.weight * shift + self.bias
        return torch.addcmul(shift[:, :, None, None], wide, scale[:, :, None, None]).to(x_NCHW.dtype)

    def extra_repr(self) -> str:
        """Return what ``print(model)`` shows in the parentheses."""
        return str(self.channels)


def _standardizer(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    scale = torch.rsqrt(variance + EPS)
    return scale, -mean * scale


class BatchNorm(_AffineNorm):
    """Batch norm: moments of the batch in training, their running estimates in evaluation.

    Normalises with the biased variance and keeps the unbiased one in the running estimate, as torch.nn does.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift ``(1, C)``; in training also move the running estimates."""
        if not self.training:
            return _standardizer(self.running_mean[None], self.running_var[None])
        return _standardizer(*self.batch_moments(*plane_moments(x_NCHW), count=x_NCHW.numel() // self.channels))

    def batch_moments(self, mean: Tensor, variance: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return plane moments pooled over the batch, and move the running estimates towards them."""
        if count == 1:
            raise StudyError(
                "batch norm was given one value per channel to train on (batch of 1, 1x1 images), which it would turn "
                "into zero; take a larger `batch_size`, a larger `data.resolution`, or another `model.norm`"
            )
        mean, variance = pooled(mean, variance, dim=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean[0].to(self.running_mean.dtype), MOMENTUM)
            self.running_var.lerp_((variance[0] * (count / (count - 1))).to(self.running_var.dtype), MOMENTUM)
        return mean, variance


class InstanceNorm(_AffineNorm):
    """Instance norm with an affine map; the instance's own moments in training and in evaluation."""

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift ``(N, C)``."""
        _need_positions(x_NCHW)
        return _standardizer(*plane_moments(x_NCHW))


class BatchInstanceNorm(BatchNorm):
    """Batch-instance norm: ``weight * (gate * BN(x) + (1 - gate) * IN(x)) + bias``, a gate in [0, 1] per channel.

    The gate starts at 1 (pure batch norm). Nam & Kim clip it after every optimizer step (``project_parameters``), give
    it ten times the learning rate and no weight decay; ``lr_scale`` and ``no_decay`` on the parameter tell the trainer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gate = nn.Parameter(torch.ones(channels))
        self.gate.lr_scale = 10.0  # type: ignore[attr-defined]
        self.gate.no_decay = True  # type: ignore[attr-defined]

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift ``(N, C)``, mixed by the gate."""
        _need_positions(x_NCHW)
        mean, variance = plane_moments(x_NCHW)
        if self.training:
            batch = _standardizer(*self.batch_moments(mean, variance, count=x_NCHW.numel() // self.channels))
        else:
            batch = _standardizer(self.running_mean[None], self.running_var[None])
        own = _standardizer(mean, variance)
        scale, shift = (self.gate * b + (1 - self.gate) * i for b, i in zip(batch, own, strict=True))
        return scale, shift


class LayerNorm(_AffineNorm):
    """Layer norm over the channels and positions of an instance; the affine map is per channel."""

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift ``(N, 1)``."""
        return _standardizer(*pooled(*plane_moments(x_NCHW), dim=1))


class GroupNorm(_AffineNorm):
    """Group norm: ``groups`` runs of adjacent channels, each with the positions of one instance."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels)
        assert channels % groups == 0, f"{groups} groups of {channels} channels"
        self.groups = groups

    def standardizer(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift ``(N, C)``."""
        return _standardizer(*pooled_over_groups(*plane_moments(x_NCHW), self.groups))

    def extra_repr(self) -> str:
        """Return what ``print(model)`` shows in the parentheses."""
        return f"{self.channels}, groups={self.groups}"


def _need_positions(x_NCHW: Tensor) -> None:
    if x_NCHW.shape[2] * x_NCHW.shape[3] == 1:
        raise StudyError(
            "instance norm was given 1x1 images, which it would turn into zero; take a larger `data.resolution`, or "
            "another `model.norm`"
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
"""Every norm by its name in the trial config: a layer for a number of channels."""

NORM_TYPES: tuple[type[nn.Module], ...] = (
    _AffineNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)
"""Every type of norm layer, ours and torch's, for ``isinstance``."""


def project_parameters(model: nn.Module) -> None:
    """Clip every batch-instance gate to [0, 1], in place; call it after each optimizer step."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, BatchInstanceNorm):
                module.gate.clamp_(0.0, 1.0)
