"""Training: one epoch after the other, each yielding its figures."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays
from tune_app.storage import BEST, LAST
from tune_app.training.checkpoints import CheckpointFolder
from tune_app.training.epoch import train_epoch
from tune_app.training.epoch_metrics import EpochMetrics
from tune_app.training.hardware import resolve_device
from tune_app.training.probes import Probes
from tune_app.training.state import Training, device_and_precision, restore, start, to_best_payload, to_payload

_log = logging.getLogger(__name__)
_DEFAULT_PROBES = Probes()


def fit(
    config: TrialConfig,
    arrays: ImageArrays,
    *,
    device: str | torch.device = "cpu",
    checkpoints: Path | str | None = None,
    probes: Probes = _DEFAULT_PROBES,
    checkpoint_seconds: float = 0.0,
) -> Iterator[EpochMetrics]:
    """Train the model of ``config`` and yield the figures of each epoch as it ends.

    The model of the best validation accuracy (the earliest of equals) is kept and, after the last epoch, evaluated
    once on the test split. A loss that is not finite ends the training with the status ``diverged``.

    ``checkpoints`` is a folder or fsspec URL for ``best.pt`` and ``last.pt``, written at most every
    ``checkpoint_seconds`` (0: after every epoch) and at the end. Where it has a ``last.pt`` of this trial, its epochs
    are yielded again and training goes on after them, to the same figures (times apart, with as many threads) as if it
    had never stopped. Where it is of another device type or precision, training starts from the first epoch. Threads
    are left as they are.

    Raises StudyError for a device, a precision or data that cannot be had.
    """
    training = start(config, arrays, resolve_device(device))
    folder = None
    if checkpoints is not None:
        folder = CheckpointFolder(checkpoints, config.digest(), arrays.fingerprint)
        payload = folder.read_last(training.device)
        if payload is not None and _same_hardware(training, payload):
            restore(training, payload)
            _log.info("going on after epoch %d of %d", len(training.history), config.epochs)
    yield from tuple(training.history)
    written_at, written_best = -math.inf, training.best
    while not training.ended:
        metrics = train_epoch(training, probes)
        if folder is not None and (training.ended or monotonic() - written_at >= checkpoint_seconds):
            if training.best is not written_best:
                folder.write(BEST, to_best_payload(training))
            folder.write(LAST, to_payload(training))
            written_at, written_best = monotonic(), training.best
        yield metrics


def _same_hardware(training: Training, payload: dict[str, Any]) -> bool:
    """Return whether a checkpoint is of this device type and precision; one without them counts as such."""
    present = device_and_precision(training)
    found = {key: payload.get(key, value) for key, value in present.items()}
    if found != present:
        _log.warning(
            "the checkpoint was trained on %s in %s, but this process trains on %s in %s; "
            "training starts from the first epoch and replaces it",
            *(*found.values(), *present.values()),
        )
    return found == present
