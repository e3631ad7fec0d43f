from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    StepLR,
)

from search_spaces.config.trial import ScheduleConfig, ScheduleKind
from tune_app.training.schedules import SCHEDULES, he_warmup_factor, learning_rate_factors

PEAK = 0.4
EPOCHS, STEPS = 12, 5


def torch_factors(make: Callable[[torch.optim.Optimizer], LRScheduler], per_epoch: bool) -> list[float]:
    """Return the factors that torch's scheduler sets at each of EPOCHS x STEPS optimizer steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = make(optimizer)
    factors = []
    for step in range(EPOCHS * STEPS):
        factors.append(optimizer.param_groups[0]["lr"] / PEAK)
        optimizer.step()
        if not per_epoch or (step + 1) % STEPS == 0:
            scheduler.step()
    return factors


@pytest.mark.parametrize(
    ("fields", "make", "per_epoch"),
    [
        ({"kind": "constant"}, lambda o: ConstantLR(o, factor=1.0), True),
        ({"kind": "step", "step_size": 5, "gamma": 0.5}, lambda o: StepLR(o, 5, 0.5), True),
        ({"kind": "step"}, lambda o: StepLR(o, 4, 0.1), True),
        ({"kind": "multistep", "milestones": (2, 7)}, lambda o: MultiStepLR(o, [2, 7], 0.1), True),
        ({"kind": "multistep"}, lambda o: MultiStepLR(o, [6, 9], 0.1), True),
        ({"kind": "cosine"}, lambda o: CosineAnnealingLR(o, EPOCHS), True),
        ({"kind": "cosine", "final_factor": 0.1}, lambda o: CosineAnnealingLR(o, EPOCHS, eta_min=0.1 * PEAK), True),
        ({"kind": "cosine", "interval": "step"}, lambda o: CosineAnnealingLR(o, EPOCHS * STEPS), False),
        (
            {"kind": "onecycle"},
            lambda o: OneCycleLR(o, max_lr=PEAK, total_steps=EPOCHS * STEPS, cycle_momentum=False),
            False,
        ),
        (
            {"kind": "onecycle", "pct_start": 0.11, "div_factor": 10.0, "final_div_factor": 50.0},
            lambda o: OneCycleLR(
                o,
                max_lr=PEAK,
                total_steps=EPOCHS * STEPS,
                pct_start=0.11,
                div_factor=10.0,
                final_div_factor=50.0,
                cycle_momentum=False,
            ),
            False,
        ),
    ],
)
def test_every_factor_is_that_of_torch(
    fields: dict[str, Any], make: Callable[[torch.optim.Optimizer], LRScheduler], per_epoch: bool
) -> None:
    ours = learning_rate_factors(ScheduleConfig(**fields), EPOCHS, STEPS)
    np.testing.assert_allclose(ours, torch_factors(make, per_epoch), rtol=1e-9, atol=1e-12)


def test_lengths_not_given_round_up_to_whole_epochs() -> None:
    step = learning_rate_factors(ScheduleConfig(kind="step"), 10, 1)
    np.testing.assert_allclose(step, [1] * 4 + [0.1] * 4 + [0.01] * 2)
    multistep = learning_rate_factors(ScheduleConfig(kind="multistep"), 5, 1)
    np.testing.assert_allclose(multistep, [1, 1, 1, 0.1, 0.01])


def test_linear_warmup_lies_over_the_schedule_as_torch_chains_it() -> None:
    ours = learning_rate_factors(ScheduleConfig(kind="cosine", interval="step", warmup_epochs=1.4), EPOCHS, STEPS)

    def chained(optimizer: torch.optim.Optimizer) -> LRScheduler:
        warmup = LinearLR(optimizer, start_factor=1 / 7, end_factor=1.0, total_iters=6)
        return ChainedScheduler([warmup, CosineAnnealingLR(optimizer, EPOCHS * STEPS)])  # type: ignore[return-value]

    # CosineAnnealingLR multiplies its own steps up, so the two may differ by rounding, no more.
    np.testing.assert_allclose(ours, torch_factors(chained, per_epoch=False), rtol=1e-6)


def test_warmup_rises_step_by_step_and_leaves_milestones_where_they_are() -> None:
    config = ScheduleConfig(kind="multistep", milestones=(3,), warmup_epochs=2)
    factors = learning_rate_factors(config, 4, 2)
    np.testing.assert_allclose(factors, [0.25, 0.5, 0.75, 1, 1, 1, 0.1, 0.1])


def test_onecycle_takes_no_other_warmup() -> None:
    plain = learning_rate_factors(ScheduleConfig(kind="onecycle"), EPOCHS, STEPS)
    warmed = learning_rate_factors(ScheduleConfig(kind="onecycle", warmup_epochs=3), EPOCHS, STEPS)
    np.testing.assert_array_equal(plain, warmed)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 10), (2, 1), (10, 1), (3, 7)])
def test_every_schedule_gives_a_factor_for_every_step(kind: ScheduleKind, epochs: int, steps: int) -> None:
    factors = learning_rate_factors(ScheduleConfig(kind=kind), epochs, steps)
    assert factors.shape == (epochs * steps,)
    assert np.all((factors > 0) & (factors <= 1))


def test_the_registry_is_the_configs_list() -> None:
    assert set(SCHEDULES) == set(get_args(ScheduleKind))


def test_no_two_schedules_are_the_same_function() -> None:
    curves = [tuple(learning_rate_factors(ScheduleConfig(kind=kind), EPOCHS, STEPS)) for kind in SCHEDULES]
    assert len(set(curves)) == len(SCHEDULES)


def test_hes_warmup_holds_a_tenth_until_an_epoch_was_below_the_error() -> None:
    config = ScheduleConfig(kind="multistep", warmup_until_train_error=0.8)
    assert he_warmup_factor(config, []) == 0.1
    assert he_warmup_factor(config, [0.9, 0.8]) == 0.1
    assert he_warmup_factor(config, [0.9, 0.79]) == 1
    assert he_warmup_factor(config, [0.79, 0.95]) == 1
    assert he_warmup_factor(ScheduleConfig(), []) == 1
    assert he_warmup_factor(ScheduleConfig(kind="onecycle", warmup_until_train_error=0.8), []) == 1
