"""The optimizers, fused: one kernel for all parameters of a group, on CPU and CUDA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import unwrap
from typing import Any

import torch
from torch import optim
from torch.optim import Optimizer

from search_spaces.config.trial import OptimizerConfig

Groups = list[dict[str, Any]]


class _Eager(Optimizer):
    """An optimizer that is never compiled.

    torch.optim wraps these methods for torch.compile, and the first call of a wrapper imports the compiler: 900
    modules, 1.4 s in each training process. The methods themselves are torch's own.
    """

    add_param_group = unwrap(Optimizer.add_param_group)
    load_state_dict = unwrap(Optimizer.load_state_dict)
    state_dict = unwrap(Optimizer.state_dict)
    zero_grad = unwrap(Optimizer.zero_grad)


class SGD(_Eager, optim.SGD):
    """`torch.optim.SGD`, never compiled."""

    step = torch.no_grad()(unwrap(optim.SGD.step))


class Adam(_Eager, optim.Adam):
    """`torch.optim.Adam`, never compiled."""

    step = torch.no_grad()(unwrap(optim.Adam.step))


class AdamW(_Eager, optim.AdamW):
    """`torch.optim.AdamW`, never compiled."""

    step = torch.no_grad()(unwrap(optim.AdamW.step))


def build_optimizer(config: OptimizerConfig, groups: Groups) -> Optimizer:
    """Return the optimizer over ``parameter_groups``, each group with its own weight decay and ``lr_scale``."""
    return OPTIMIZERS[config.name](config, groups)


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set every group's learning rate to ``learning_rate`` times the group's ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_scale"]


def _sgd(config: OptimizerConfig, groups: Groups) -> Optimizer:
    """v = momentum v + (g + decay w); w = w - lr v."""
    return SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)


def _nesterov(config: OptimizerConfig, groups: Groups) -> Optimizer:
    """v = momentum v + (g + decay w); w = w - lr (g + decay w + momentum v)."""
    return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=True, fused=True)


def _adam(config: OptimizerConfig, groups: Groups) -> Optimizer:
    """Adam with L2: the decay is part of the gradient (Kingma & Ba 2015, arXiv 1412.6980)."""
    return Adam(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def _adamw(config: OptimizerConfig, groups: Groups) -> Optimizer:
    """Adam with decoupled decay (Loshchilov & Hutter 2019, arXiv 1711.05101)."""
    return AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


OPTIMIZERS: Mapping[str, Callable[[OptimizerConfig, Groups], Optimizer]] = {
    "sgd": _sgd,
    "nesterov": _nesterov,
    "adam": _adam,
    "adamw": _adamw,
}
