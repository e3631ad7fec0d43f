"""Learning-rate schedules: the factor on the peak learning rate at every optimizer step, computed before training.

A schedule is a pure function ``(config, epochs, steps_per_epoch) -> float64 array (epochs * steps_per_epoch,)``.
A schedule has no state, so a resumed run needs only its position. The schedules equal those of
``torch.optim.lr_scheduler`` (StepLR, MultiStepLR, CosineAnnealingLR, OneCycleLR); tests compare them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.config.defaults import milestones, step_size
from search_spaces.config.trial import ScheduleConfig

Factors = NDArray[np.float64]
Schedule = Callable[[ScheduleConfig, int, int], Factors]

HE_WARMUP_FACTOR = 0.1


def learning_rate_factors(config: ScheduleConfig, epochs: int, steps_per_epoch: int) -> Factors:
    """Return the factor on the peak learning rate at each optimizer step, warm-up included.

    Linear warm-up multiplies the schedule (torch's ChainedScheduler of LinearLR and the schedule): step k of W, from
    0, has the factor (k + 1) / W. So milestones and cosine count epochs from the start of training, with or without
    warm-up. Onecycle has its own warm-up, so ``warmup_epochs`` has no effect on it.
    """
    factors = SCHEDULES[config.kind](config, epochs, steps_per_epoch)
    if not config.is_inactive("warmup_epochs"):
        factors = factors * _linear_warmup(len(factors), round(config.warmup_epochs * steps_per_epoch))
    return factors


def he_warmup_factor(config: ScheduleConfig, train_errors: Sequence[float]) -> float:
    """Return the factor of He's warm-up in the epoch after epochs with these training errors (fractions).

    0.1 until the training error of an epoch is below ``warmup_until_train_error``, then 1 for the rest of the training.
    He et al. 2016 (arXiv 1512.03385, section 4.2) use it for 110 layers: 0.01 instead of 0.1 until the error is below
    80 %, about 400 steps. Difference: the error is checked at the end of each epoch, not within it.
    """
    threshold = config.warmup_until_train_error
    if threshold is None or config.is_inactive("warmup_until_train_error"):
        return 1.0
    return 1.0 if any(error < threshold for error in train_errors) else HE_WARMUP_FACTOR


def _constant(config: ScheduleConfig, epochs: int, steps_per_epoch: int) -> Factors:
    return np.ones(epochs * steps_per_epoch)


def _step(config: ScheduleConfig, epochs: int, steps_per_epoch: int) -> Factors:
    size = config.step_size or step_size(epochs)
    return _powers(config.gamma, _epoch_of_step(epochs, steps_per_epoch) // size)


def _multistep(config: ScheduleConfig, epochs: int, steps_per_epoch: int) -> Factors:
    reached = config.milestones or milestones(epochs)
    passed = np.searchsorted(reached, _epoch_of_step(epochs, steps_per_epoch), side="right")
    return _powers(config.gamma, passed)


def _cosine(config: ScheduleConfig, epochs: int, steps_per_epoch: int) -> Factors:
    """Anneal to ``final_factor`` (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts)."""
    if config.interval == "epoch":
        done = _epoch_of_step(epochs, steps_per_epoch) / epochs
    else:
        done = np.arange(epochs * steps_per_epoch) / (epochs * steps_per_epoch)
    return _anneal(1.0, config.final_factor, done)


def _onecycle(config: ScheduleConfig, epochs: int, steps_per_epoch: int) -> Factors:
    """Rise and fall along cosines (Smith & Topin 2018, arXiv 1708.07120), as OneCycleLR(cycle_momentum=False).

    The paper also varies the momentum; here it is constant, so that arms differ in the learning rate only.
    """
    first = 1 / config.div_factor
    last = first / config.final_div_factor
    steps = np.arange(epochs * steps_per_epoch, dtype=np.float64)
    top = config.pct_start * len(steps) - 1
    rise = _anneal(first, 1.0, steps / top) if top > 0 else np.ones_like(steps)
    fall = _anneal(1.0, last, (steps - top) / (len(steps) - 1 - top))
    return np.where(steps <= top, rise, fall)


SCHEDULES: Mapping[str, Schedule] = {
    "constant": _constant,
    "step": _step,
    "multistep": _multistep,
    "cosine": _cosine,
    "onecycle": _onecycle,
}


def _powers(gamma: float, exponents: NDArray[np.int64]) -> Factors:
    powers: Factors = np.power(gamma, exponents)
    return powers


def _epoch_of_step(epochs: int, steps_per_epoch: int) -> NDArray[np.int64]:
    return np.repeat(np.arange(epochs), steps_per_epoch)


def _anneal(start: float, end: float, done: Factors) -> Factors:
    """Return the half cosine from ``start`` (done = 0) to ``end`` (done = 1)."""
    return end + (start - end) * (1 + np.cos(np.pi * done)) / 2


def _linear_warmup(steps: int, warmup_steps: int) -> Factors:
    return np.minimum((np.arange(steps) + 1) / max(warmup_steps, 1), 1.0)
