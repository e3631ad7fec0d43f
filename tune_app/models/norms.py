"""Hand-written normalization layers.

All of them compute ``y = weight * (x - mean) / sqrt(variance + eps) + bias``. They differ in the activations that
share a mean and a variance, a union of planes (one channel of one instance); `planes` has the computation.

===============  ===================================================  ==============================
layer            set that shares a mean and a variance                paper
===============  ===================================================  ==============================
batch            a channel of all instances                           Ioffe & Szegedy 2015, 1502.03167
instance         a channel of one instance                            Ulyanov et al. 2016, 1607.08022
batch_instance   a learned mixture of the two                         Nam & Kim 2018, 1805.07925
layer            all channels of one instance                         Ba et al. 2016, 1607.06450
group            a group of adjacent channels of one instance         Wu & He 2018, 1803.08494
===============  ===================================================  ==============================

Statistics are computed in float32 or float64; the output has the input's dtype, as with torch.nn under autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from search_spaces.config.trial import ModelConfig
from search_spaces.errors import StudyError
from tune_app.models.planes import EPS, Moments, plane_norm, scale_shift, widened

MOMENTUM = 0.1


class HandNorm(nn.Module):
    """A norm layer for (N, C, H, W): standardize, then scale and shift each channel by its weight and bias.

    ``groups``: of adjacent channels that share a mean and a variance. ``over_batch``: whether all instances share them.
    """

    def __init__(self, channels: int, groups: int, over_batch: bool = False) -> None:
        super().__init__()
        assert channels % groups == 0, f"{groups} groups of {channels} channels"
        self.channels, self.groups, self.over_batch = channels, groups, over_batch
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the normalized images, in the shape, dtype and memory format of ``x_NCHW``."""
        return plane_norm(x_NCHW, self.groups, {self.over_batch: self.weight}, self.bias)[0]

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
        super().__init__(channels, channels, over_batch=True)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the normalized images; in training also update the running estimates."""
        if not self.training:
            return self.by_running(widened(x_NCHW), self.weight, self.bias).to(x_NCHW.dtype)
        if x_NCHW.numel() == self.channels:
            raise _single_value("batch", "one 1x1 image a batch")
        y_NCHW, moments = plane_norm(x_NCHW, self.groups, {True: self.weight}, self.bias)
        self.update_running(moments[True], x_NCHW)
        return y_NCHW

    def by_running(self, x_NCHW: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return images normalized by the running estimates."""
        scale = weight * torch.rsqrt(self.running_var + EPS)
        return scale_shift(x_NCHW, scale, bias - scale * self.running_mean)

    def update_running(self, moments: Moments, x_NCHW: Tensor) -> None:
        """Update the running estimates with the moments of the batch."""
        count = x_NCHW.numel() // self.channels
        with torch.no_grad():
            mean, variance = (moment.flatten().to(self.running_mean.dtype) for moment in moments)
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(variance * (count / (count - 1)), MOMENTUM)


class InstanceNorm(HandNorm):
    """Instance norm: moments of each channel of each instance, in training and in evaluation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the normalized images."""
        need_positions(x_NCHW)
        return super().forward(x_NCHW)


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

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the normalized images; in training also update the running estimates."""
        need_positions(x_NCHW)
        batch, instance = self.weight * self.gate, self.weight * (1 - self.gate)
        if not self.training:
            wide = widened(x_NCHW)
            part, _ = plane_norm(wide, self.groups, {False: instance}, self.bias)
            return (part + self.by_running(wide, batch, torch.zeros_like(self.bias))).to(x_NCHW.dtype)
        y_NCHW, moments = plane_norm(x_NCHW, self.groups, {True: batch, False: instance}, self.bias)
        self.update_running(moments[True], x_NCHW)
        return y_NCHW


class LayerNorm(HandNorm):
    """Layer norm over the channels and positions of an instance; weight and bias are per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, groups=1)


class GroupNorm(HandNorm):
    """Group norm: moments over ``groups`` groups of adjacent channels and the positions of one instance."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the normalized images."""
        if x_NCHW.numel() == self.groups:
            raise _single_value("group", "one 1x1 image, groups of one channel")
        return super().forward(x_NCHW)

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
