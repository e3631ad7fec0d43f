"""The training of an image classifier by `tune_app.training.fit`, as reports for the results store."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from search_spaces.config.trial import TrialConfig
from search_spaces.store_schema import CONFUSION_CLASSES
from tune_app.data import ImageArrays
from tune_app.models import build_model
from tune_app.tasks.base import EpochReport, TrialSetup
from tune_app.training import (
    EpochMetrics,
    Probes,
    SplitMetrics,
    clean_columns,
    device_name,
    fit,
    keep_freed_memory,
    limit_memory,
    resolve_device,
    resolve_precision,
    set_threads,
)


def train(config: TrialConfig, arrays: ImageArrays, setup: TrialSetup) -> Iterator[EpochReport]:
    """Train a network and yield each epoch."""
    set_threads(max(1, int(setup.cpus)))
    keep_freed_memory()
    device = resolve_device("auto" if setup.gpus else "cpu")
    limit_memory(device, setup.gpus)
    epochs = fit(
        config,
        arrays,
        device=device,
        checkpoints=setup.checkpoints,
        checkpoint_seconds=setup.checkpoint_seconds,
        probes=Probes(**setup.probes.model_dump()),
    )
    fixed = {
        "device": device.type,
        "device_name": device_name(device),
        "precision": resolve_precision(config.precision, device),
    }
    for metrics in epochs:
        yield _report(config, arrays, metrics, fixed)


def _report(config: TrialConfig, arrays: ImageArrays, metrics: EpochMetrics, fixed: Mapping[str, Any]) -> EpochReport:
    columns = dict(fixed)
    if metrics.test is not None:
        columns |= metrics.test.columns("test") | {"test_confusion": confusion_column(metrics.test)}
        columns |= clean_columns(metrics.train_clean_best)
    if metrics.status != "running":
        columns |= {"classes": list(arrays.classes), "parameters": parameter_count(config, arrays)}
    quantiles = [
        {"epoch": metrics.epoch, "layer": row.layer, "percentile": row.percentile, "value": row.value}
        for row in metrics.quantiles
    ]
    correct = [{"split": "test", **asdict(metrics.correct)}] if metrics.correct else []
    return EpochReport(
        epoch=metrics.epoch,
        row=metrics.to_row(),
        status=metrics.status,
        best_epoch=metrics.best_epoch,
        seconds=metrics.seconds,
        columns=columns,
        tables={"quantiles": quantiles, "correct": correct},
    )


def confusion_column(metrics: SplitMetrics) -> list[int]:
    """Return what the store keeps of a confusion matrix: all of it, or the sum of each row where classes are many."""
    flat = np.asarray(metrics.confusion or (), dtype=np.int64)
    classes = math.isqrt(len(flat))
    kept: list[int] = (flat if classes <= CONFUSION_CLASSES else flat.reshape(classes, classes).sum(axis=1)).tolist()
    return kept


def parameter_count(config: TrialConfig, arrays: ImageArrays) -> int:
    """Return the number of trainable parameters, without allocating them."""
    resolution = config.data.resolution or arrays.train_images.shape[1]
    with torch.random.fork_rng(devices=()), torch.device("meta"):
        model = build_model(config.model, arrays.train_images.shape[3], len(arrays.classes), resolution)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
