"""Part `waits`: no step of an epoch waits for the GPU, by torch's own check of synchronising operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch

from bench.gpu.results import Check, Measured
from bench.gpu.settings import Settings, Values, small_arrays, small_config, variants
from tune_app.training.epoch import train_steps
from tune_app.training.seeding import GlobalStreams
from tune_app.training.state import start


def checks(settings: Settings) -> Iterator[Check]:
    """Yield a check for each component."""
    what = "1 if all steps of the second epoch ran with torch.cuda.set_sync_debug_mode('error'); an error otherwise"
    for name, values in variants():
        yield Check(name, what, partial(_wait, settings, values))
    for norm in ("torch_batch", "batch_instance"):
        run = partial(_wait, settings, {"precision": "auto", "model.norm": norm})
        yield Check(f"precision auto, norm {norm}", what, run)


def _wait(settings: Settings, values: Values) -> Mapping[str, Measured]:
    training = start(small_config(settings, values), small_arrays(settings), settings.device)
    with GlobalStreams(0, settings.device).active():
        train_steps(training, 1, with_norm=True)  # the first epoch starts libraries and allocates memory
        with _no_synchronization(settings.device):
            train_steps(training, 2, with_norm=True)
    on_cuda = settings.device.type == "cuda"
    return {"": Measured(1.0, bound=">= 1" if on_cuda else "", passed=True if on_cuda else None)}


@contextmanager
def _no_synchronization(device: torch.device) -> Iterator[None]:
    """Let operations that wait for the GPU raise; nothing to check on the CPU."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
