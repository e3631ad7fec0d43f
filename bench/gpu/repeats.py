"""Part `repeats`: a training on the device repeats to the last bit, and so does one that is resumed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch

from bench.gpu.results import Check, Measured, at_most
from bench.gpu.settings import Settings, Values, small_arrays, small_config
from tune_app.storage import LAST
from tune_app.training import EpochMetrics, fit, read_checkpoint

TIMES = ("seconds", "images_per_second")
CASES: dict[str, Values] = {
    "resnet, batch-instance norm, randaugment, adamw": {
        "model.norm": "batch_instance",
        "augmentation.policy": "randaugment",
        "optimizer": {"name": "adamw", "lr": 0.001, "clip_norm": 1.0},
    },
    "cnn with dropout": {"model.family": "cnn", "augmentation.policy": "crop_flip"},
    "resnet18, large stem with max pool": {
        "model.family": "resnet18", "model.blocks": (1, 1), "model.stem": "large", "model.norm": "torch_batch",
    },
    "resnext": {"model.family": "resnext", "model.blocks": (1, 1), "model.norm": "group"},
    "densenet": {"model.family": "densenet", "model.blocks": (2, 2), "model.norm": "layer"},
    "resnet in precision auto": {"precision": "auto", "model.norm": "batch", "augmentation.policy": "crop_flip"},
}  # fmt: skip


def checks(settings: Settings) -> Iterator[Check]:
    """Yield a check for each case."""
    what = "figures that differ between two runs, and between a run and one resumed after its first epoch; and whether "
    what += "the checkpoint names the digest of the config, which does not depend on the device"
    for name, values in CASES.items():
        yield Check(name, what, partial(_repeat, settings, values))


def _repeat(settings: Settings, values: Values) -> Mapping[str, Measured]:
    config, arrays = small_config(settings, values), small_arrays(settings)
    first, second = (figures(list(fit(config, arrays, device=settings.device))) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        next(fit(config, arrays, device=settings.device, checkpoints=folder))
        payload = read_checkpoint(Path(folder), LAST, torch.device("cpu"))
        resumed = figures(list(fit(config, arrays, device=settings.device, checkpoints=folder)))
    named = (payload["digest"], payload["fingerprint"]) == (config.digest(), arrays.fingerprint)
    return {
        ": repeated": at_most(differing(first, second), 0),
        ": resumed": at_most(differing(first, resumed), 0),
        ": digest": at_most(0.0 if named else 1.0, 0),
    }


def figures(epochs: list[EpochMetrics]) -> list[str]:
    """Return every figure but the times, to the last bit."""
    return [f"{key} {value!r}" for epoch in epochs for key, value in epoch.to_plain().items() if key not in TIMES]


def differing(first: list[str], second: list[str]) -> float:
    """Return how many figures differ; all where there are fewer of them."""
    if len(first) != len(second):
        return float(max(len(first), len(second)))
    return float(sum(a != b for a, b in zip(first, second, strict=True)))
