"""One epoch: train, validate, save the best model, and evaluate the test split once after the last epoch.

Nothing in the loop over batches waits for the device; results are read once per epoch. Shape legend: N images,
C channels, H x W positions.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.config.trial import TrialConfig
from search_spaces.metrics import IMAGE_METRICS
from tune_app.data.loaders import EvalLoader
from tune_app.draws import keyed_seed
from tune_app.models import ImageClassifier, project_parameters
from tune_app.training.epoch_metrics import CorrectImages, EpochMetrics, EpochStatus, QuantileRow, correct_images
from tune_app.training.evaluation import evaluate
from tune_app.training.hardware import autocast, full_float32
from tune_app.training.metrics import SplitMetrics, Tally
from tune_app.training.optimizers import set_learning_rate
from tune_app.training.probes import (
    PROBED_IMAGES,
    Probes,
    dead_fraction,
    norm_input_rows,
    quantile_rows,
    total_norm,
)
from tune_app.training.schedules import he_warmup_factor
from tune_app.training.state import BestModel, Training, global_streams


def train_epoch(training: Training, probes: Probes) -> EpochMetrics:
    """Train one epoch, validate, save the model if it is the best, add the metrics to the history and return them."""
    started = perf_counter()
    epoch = len(training.history) + 1
    network_seed = keyed_seed(training.config.seed, epoch, "network") % 2**32  # dropout and the like
    streams = global_streams(training.config, network_seed, training.device)
    with streams.active(), full_float32(training.device):
        trained = _train(training, epoch, with_norm=probes.norms)
        val, probed = _validate(training, probes)
        status = _status(training.config, epoch, trained.metrics, val)
        if status != "diverged":
            _keep_best(training, epoch, trained.metrics, val)
        test, correct = _test(training) if status == "completed" else (None, None)
        clean = _train_clean(training) if status == "completed" and probes.train_clean else (None, None)
    metrics = EpochMetrics(
        epoch=epoch,
        epochs=training.config.epochs,
        train=trained.metrics,
        val=val,
        learning_rate=trained.learning_rate,
        gradient_norm=trained.gradient_norm,
        weight_norm=probed.weight_norm,
        dead_fraction=probed.dead_fraction,
        images_per_second=len(training.splits.train) / trained.seconds,
        seconds=perf_counter() - started,
        status=status,
        best_epoch=training.best.epoch if training.best is not None else None,
        test=test,
        correct=correct,
        quantiles=probed.quantiles,
        train_clean=clean[0],
        train_clean_best=clean[1],
    )
    training.history.append(metrics)
    return metrics


@dataclass(frozen=True)
class _Trained:
    metrics: SplitMetrics
    learning_rate: float
    gradient_norm: float | None
    seconds: float


def _train(training: Training, epoch: int, with_norm: bool) -> _Trained:
    started = perf_counter()
    sums = train_steps(training, epoch, with_norm)
    metrics = sums.tally.result()  # waits for the device, so the time below is the training time
    gradient_norm = float(sums.gradient_norm) / training.train.steps_per_epoch if with_norm else None
    return _Trained(metrics, sums.learning_rate, gradient_norm, perf_counter() - started)


@dataclass(frozen=True)
class Sums:
    """What the steps of an epoch leave on the device: the tally and the sum of the gradient norms."""

    tally: Tally
    gradient_norm: Tensor
    learning_rate: float


def train_steps(training: Training, epoch: int, with_norm: bool) -> Sums:
    """Take all optimizer steps of an epoch, counted from 1. Nothing in here waits for a GPU."""
    config, steps = training.config, training.train.steps_per_epoch
    warmup = he_warmup_factor(config.schedule, [1 - past.train.accuracy for past in training.history])
    rates = config.optimizer.lr * warmup * training.factors[(epoch - 1) * steps : epoch * steps]
    tally = Tally(training.num_classes, training.device)
    norm_sum = torch.zeros((), device=training.device)
    parameters = list(training.model.parameters())
    training.model.train()
    for rate, (x_NCHW, y_N) in zip(rates.tolist(), training.train.epoch(epoch), strict=True):
        set_learning_rate(training.optimizer, rate)
        with autocast(training.precision, training.device):
            logits = training.model(x_NCHW)
        loss = F.cross_entropy(logits.float(), y_N)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = _clip(parameters, config.optimizer.clip_norm, with_norm)
        training.optimizer.step()
        training.optimizer.zero_grad(set_to_none=True)
        project_parameters(training.model)
        tally.add(logits, y_N, loss)
        if norm is not None:
            norm_sum += norm
    return Sums(tally, norm_sum, rates[-1].item())


def _clip(parameters: list[nn.Parameter], clip_norm: float | None, with_norm: bool) -> Tensor | None:
    """Clip the gradients to ``clip_norm``; return their norm before clipping, or None if it was not computed."""
    if clip_norm is None and not with_norm:
        return None
    norm = total_norm(parameter.grad for parameter in parameters)
    if clip_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
    return norm


@dataclass(frozen=True)
class _Probed:
    weight_norm: float | None
    dead_fraction: float | None
    quantiles: tuple[QuantileRow, ...]


def _validate(training: Training, probes: Probes) -> tuple[SplitMetrics, _Probed]:
    model, device, precision = training.model, training.device, training.precision
    keep = PROBED_IMAGES if probes.quantiles else 0
    val, features = evaluate(model, training.val, training.num_classes, device, precision, keep_features=keep)
    rows: tuple[QuantileRow, ...] = ()
    if features is not None:
        rows += quantile_rows("features", features)
    if probes.norm_inputs:
        x_NCHW, _ = next(iter(training.val))
        with torch.inference_mode(), autocast(precision, device):
            rows += norm_input_rows(model, lambda: model(x_NCHW))
    weight_norm = float(total_norm(p.detach() for p in model.parameters())) if probes.norms else None
    return val, _Probed(weight_norm, dead_fraction(features) if features is not None else None, rows)


def _status(config: TrialConfig, epoch: int, train: SplitMetrics, val: SplitMetrics) -> EpochStatus:
    if not (math.isfinite(train.loss) and math.isfinite(val.loss)):
        return "diverged"
    return "completed" if epoch == config.epochs else "running"


def _keep_best(training: Training, epoch: int, train: SplitMetrics, val: SplitMetrics) -> None:
    metric = IMAGE_METRICS[training.config.choose_by or "val_accuracy"]
    value = (train.columns("train") | val.columns("val"))[metric.name]
    gain = value if metric.higher_is_better else -value
    if training.best is None or gain > (training.best.value if metric.higher_is_better else -training.best.value):
        weights = {name: tensor.detach().clone() for name, tensor in training.model.state_dict().items()}
        training.best = BestModel(epoch, value, weights)


def _test(training: Training) -> tuple[SplitMetrics, CorrectImages]:
    """Evaluate the best model on the test split; no other code uses that split."""
    model = _best_model(training)
    loader = EvalLoader(
        training.arrays, training.splits.test, "test", training.config, training.train.normalization, training.device
    )
    found: list[Tensor] = []
    metrics, _ = evaluate(model, loader, training.num_classes, training.device, training.precision, correct=found)
    return metrics, correct_images(training.splits.test, torch.cat(found).cpu().numpy())


def _train_clean(training: Training) -> tuple[SplitMetrics, SplitMetrics]:
    """Evaluate the present and the best model on the training images without augmentation."""
    assert training.best is not None
    last = _on_training_images(training, training.model)
    is_best = training.best.epoch == training.config.epochs
    return last, last if is_best else _on_training_images(training, _best_model(training))


def _on_training_images(training: Training, model: ImageClassifier) -> SplitMetrics:
    batches = training.train.without_augmentation()
    return evaluate(model, batches, training.num_classes, training.device, training.precision)[0]


def _best_model(training: Training) -> ImageClassifier:
    assert training.best is not None
    model = copy.deepcopy(training.model)
    model.load_state_dict(training.best.weights)
    return model
