"""The training of an image classifier by `tune_app.training.fit`, as reports for the results store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays
from tune_app.models import build_model
from tune_app.tasks.base import EpochReport, TrialSetup
from tune_app.training import (
    EpochMetrics,
    Probes,
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
        columns |= metrics.test.columns("test") | {"test_confusion": list(metrics.test.confusion or ())}
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


def parameter_count(config: TrialConfig, arrays: ImageArrays) -> int:
    """Return the number of trainable parameters, without allocating them."""
    resolution = config.data.resolution or arrays.train_images.shape[1]
    with torch.random.fork_rng(devices=()), torch.device("meta"):
        model = build_model(config.model, arrays.train_images.shape[3], len(arrays.classes), resolution)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
