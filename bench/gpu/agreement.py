"""Part `agreement`: every built-in component trains on the device as on the CPU, in float32 without TF32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial

import torch

from bench.gpu.results import Check, Measured, at_most
from bench.gpu.settings import Settings, Values, small_arrays, small_config, variants
from tune_app.training import EpochMetrics, fit

TOLERANCE = 1e-3
"""Largest relative difference of the first epoch's losses, gradient norm and weight norm.

On one CPU, torch's two convolution algorithms (oneDNN and its own) differ by up to 7e-5 here; CUDA sums in other orders
again.
"""
BFLOAT16_TOLERANCE = 0.05
"""The same for bfloat16 autocast on the device against float32 on the CPU: 8 bits, relative errors of 0.4 %."""


def checks(settings: Settings) -> Iterator[Check]:
    """Yield a check for each component, and one for the lower precision."""
    for name, values in variants():
        what = "largest relative difference of the first epoch's figures between the device and the CPU, float32"
        yield Check(name, what, partial(_agree, settings, values, "float32", TOLERANCE))
    what = "the same for precision auto on the device (bfloat16 where it has it) against float32 on the CPU"
    for norm in ("torch_batch", "batch", "layer"):
        run = partial(_agree, settings, {"model.norm": norm}, "auto", BFLOAT16_TOLERANCE)
        yield Check(f"precision auto, norm {norm}", what, run)


def _agree(settings: Settings, values: Values, precision: str, bound: float) -> Mapping[str, Measured]:
    reference, found = (
        first_epoch(settings, values | {"precision": used}, device)
        for used, device in (("float32", torch.device("cpu")), (precision, settings.device))
    )
    return {"": at_most(largest_difference(reference, found), bound)}


def first_epoch(settings: Settings, values: Values, device: torch.device) -> EpochMetrics:
    """Return the figures of the first epoch on a device."""
    return next(fit(small_config(settings, values), small_arrays(settings), device=device))


def largest_difference(reference: EpochMetrics, found: EpochMetrics) -> float:
    """Return the largest relative difference of losses, gradient norm and weight norm; nan counts as infinite."""
    differences = [
        abs(b - a) / abs(a)
        for a, b in (
            (reference.train.loss, found.train.loss),
            (reference.val.loss, found.val.loss),
            (reference.gradient_norm or math.nan, found.gradient_norm or math.nan),
            (reference.weight_norm or math.nan, found.weight_norm or math.nan),
        )
    ]
    return math.inf if any(math.isnan(difference) for difference in differences) else max(differences)
