"""The optimizers, fused: one kernel for all parameters of a group, on CPU and CUDA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer

from search_spaces.config.trial import OptimizerConfig

Groups = list[dict[str, Any]]


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
