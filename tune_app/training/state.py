"""All that a training is made of, built from its config, and how it is saved and taken up again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from search_spaces.config.base import is_reference
from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays, Splits, make_splits
from tune_app.data.loaders import EvalLoader, TrainLoader
from tune_app.models import ImageClassifier, build_model
from tune_app.training.decay import parameter_groups
from tune_app.training.epoch_metrics import EpochMetrics
from tune_app.training.hardware import UsedPrecision, resolve_precision
from tune_app.training.optimizers import build_optimizer
from tune_app.training.schedules import Factors, learning_rate_factors
from tune_app.training.seeding import GlobalStreams


@dataclass(frozen=True)
class BestModel:
    """The weights and buffers of the epoch with the best ``choose_by`` metric, the earliest of equals."""

    epoch: int
    value: float
    weights: dict[str, Tensor]


@dataclass
class Training:
    """A training between two epochs. ``history``, ``best`` and what the objects hold move on; the rest is fixed."""

    config: TrialConfig
    arrays: ImageArrays
    splits: Splits
    device: torch.device
    precision: UsedPrecision
    train: TrainLoader
    val: EvalLoader
    model: ImageClassifier
    optimizer: Optimizer
    factors: Factors
    history: list[EpochMetrics] = field(default_factory=list)
    best: BestModel | None = None

    @property
    def ended(self) -> bool:
        """Whether the last epoch is trained, or training diverged."""
        return bool(self.history) and self.history[-1].status != "running"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.arrays.classes)


def start(config: TrialConfig, arrays: ImageArrays, device: torch.device) -> Training:
    """Return the training of ``config`` before its first epoch."""
    precision = resolve_precision(config.precision, device)
    splits = make_splits(arrays, config.data, config.seed)
    train = TrainLoader(arrays, splits, config, device)
    val = EvalLoader(arrays, splits.val, "val", config, train.normalization, device)
    # Networks that are not ours draw from the global generators.
    with global_streams(config, config.seed, device).active():
        model = _build_model(config, arrays, device)
    groups = parameter_groups(model, config.optimizer, config.weight_decay_grouping)
    return Training(
        config=config,
        arrays=arrays,
        splits=splits,
        device=device,
        precision=precision,
        train=train,
        val=val,
        model=model,
        optimizer=build_optimizer(config.optimizer, groups),
        factors=learning_rate_factors(config.schedule, config.epochs, train.steps_per_epoch),
    )


def global_streams(config: TrialConfig, seed: int, device: torch.device) -> GlobalStreams:
    """Return the global random state of a training.

    A network that is not ours may use an operation without a deterministic version, as many have on a GPU.
    """
    return GlobalStreams(seed, device, strict=not is_reference(config.model.family))


def _build_model(config: TrialConfig, arrays: ImageArrays, device: torch.device) -> ImageClassifier:
    """Draw the weights on the CPU, so that they are the same on every device."""
    _, height, _, channels = arrays.train_images.shape
    resolution = config.data.resolution or height
    model = build_model(config.model, channels, len(arrays.classes), resolution, config.seed)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def device_and_precision(training: Training) -> dict[str, str]:
    """Return the device type and the precision of a training, as its checkpoint has them."""
    return {"device": training.device.type, "precision": training.precision}


def to_payload(training: Training) -> dict[str, Any]:
    """Return what ``last.pt`` holds: all that ``restore`` needs.

    The schedule's position is the history's length, and random draws are keyed by the epoch.
    """
    best = training.best
    return {
        "config": training.config.model_dump(mode="json"),
        **device_and_precision(training),
        "history": [metrics.to_plain() for metrics in training.history],
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "best": None if best is None else to_best_payload(training),
    }


def to_best_payload(training: Training) -> dict[str, Any]:
    """Return what ``best.pt`` holds: the model of the best epoch, and what it takes to build it again."""
    best = training.best
    assert best is not None
    return {
        "config": training.config.model_dump(mode="json"),
        "classes": list(training.arrays.classes),
        "epoch": best.epoch,
        "choose_by": training.config.choose_by,
        "value": best.value,
        "model": best.weights,
    }


def restore(training: Training, payload: dict[str, Any]) -> None:
    """Set a training that has just been started to where the payload was taken."""
    training.history = [EpochMetrics.from_plain(plain) for plain in payload["history"]]
    training.model.load_state_dict(payload["model"])
    training.optimizer.load_state_dict(payload["optimizer"])
    best = payload["best"]
    if best is not None:
        training.best = BestModel(best["epoch"], best["value"], best["model"])
