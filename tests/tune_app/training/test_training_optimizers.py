from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import nn

from search_spaces.config.trial import OptimizerConfig, OptimizerName
from tune_app.training.optimizers import OPTIMIZERS, build_optimizer, set_learning_rate

LR, DECAY, GATE_SCALE = 0.05, 0.3, 10.0
W = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
GRADIENTS = [
    torch.tensor([0.2, 0.1, -0.4], dtype=torch.float64),
    torch.tensor([-0.3, 0.25, 0.1], dtype=torch.float64),
]


def trained(config: OptimizerConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two copies of W after both gradients: one that decays, one that does not and learns faster."""
    slow, fast = nn.Parameter(W.clone()), nn.Parameter(W.clone())
    groups: list[dict[str, Any]] = [
        {"params": [slow], "weight_decay": DECAY, "lr_scale": 1.0},
        {"params": [fast], "weight_decay": 0.0, "lr_scale": GATE_SCALE},
    ]
    optimizer = build_optimizer(config, groups)
    for gradient in GRADIENTS:
        set_learning_rate(optimizer, LR)
        slow.grad, fast.grad = gradient.clone(), gradient.clone()
        optimizer.step()
    return slow.detach(), fast.detach()


def sgd_by_hand(lr: float, decay: float, momentum: float, nesterov: bool) -> torch.Tensor:
    w, v = W.clone(), torch.zeros_like(W)
    for gradient in GRADIENTS:
        g = gradient + decay * w
        v = momentum * v + g
        w = w - lr * (g + momentum * v if nesterov else v)
    return w


def adam_by_hand(lr: float, decay: float, decoupled: bool) -> torch.Tensor:
    w, m, v = W.clone(), torch.zeros_like(W), torch.zeros_like(W)
    for t, gradient in enumerate(GRADIENTS, start=1):
        g = gradient if decoupled else gradient + decay * w
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        step = (m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
        w = w - lr * (step + (decay * w if decoupled else 0))
    return w


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_follows_its_formula_with_a_decay_and_a_rate_for_each_group(nesterov: bool) -> None:
    slow, fast = trained(OptimizerConfig(name="nesterov" if nesterov else "sgd", momentum=0.9))
    torch.testing.assert_close(slow, sgd_by_hand(LR, DECAY, 0.9, nesterov), rtol=1e-12, atol=0)
    torch.testing.assert_close(fast, sgd_by_hand(LR * GATE_SCALE, 0.0, 0.9, nesterov), rtol=1e-12, atol=0)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_couples_its_decay_and_adamw_does_not(decoupled: bool) -> None:
    slow, fast = trained(OptimizerConfig(name="adamw" if decoupled else "adam", beta1=0.8, beta2=0.95))
    torch.testing.assert_close(slow, adam_by_hand(LR, DECAY, decoupled), rtol=1e-12, atol=0)
    torch.testing.assert_close(fast, adam_by_hand(LR * GATE_SCALE, 0.0, decoupled), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_fused_and_lowers_a_convex_function(name: OptimizerName) -> None:
    w = nn.Parameter(torch.tensor([3.0, -1.0]))
    optimizer = build_optimizer(OptimizerConfig(name=name), [{"params": [w], "weight_decay": 0.0, "lr_scale": 1.0}])
    assert optimizer.defaults["fused"]
    first = float((w.detach() ** 2).sum())
    for _ in range(20):
        set_learning_rate(optimizer, 0.05)
        (w**2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    assert float((w.detach() ** 2).sum()) < first / 2


def test_the_registry_is_the_configs_list() -> None:
    assert set(OPTIMIZERS) == set(get_args(OptimizerName))
