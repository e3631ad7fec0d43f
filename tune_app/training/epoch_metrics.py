"""What one epoch yields: the row of the results store, and what the last epoch adds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from search_spaces.metrics import CLEAN_METRICS
from tune_app.training.metrics import SplitMetrics

EpochStatus = Literal["running", "completed", "diverged"]


@dataclass(frozen=True)
class QuantileRow:
    """One percentile of the values that reach a layer; the layer ``features`` is what the classifier sees."""

    layer: str
    percentile: float
    value: float


@dataclass(frozen=True)
class CorrectImages:
    """Which images of a split a model classified correctly; fields are described in ``store_schema.CORRECT``."""

    images: str
    n: int
    bits: bytes


def correct_images(indices: np.ndarray, correct: np.ndarray) -> CorrectImages:
    """Return the record for images ``indices``, int64 (N,), of a source, of which ``correct``, bool (N,), are right."""
    order = np.argsort(indices)
    identity = hashlib.sha256(indices[order].astype("<i8").tobytes()).hexdigest()[:16]
    return CorrectImages(identity, len(indices), np.packbits(correct[order]).tobytes())


def clean_columns(metrics: SplitMetrics | None) -> dict[str, float]:
    """Return the columns of `CLEAN_METRICS`; none where nothing was measured."""
    found = metrics.columns("train_clean") if metrics is not None else {}
    return {name: value for name, value in found.items() if name in CLEAN_METRICS}


@dataclass(frozen=True)
class EpochMetrics:
    """The figures of one epoch; fields are described in ``store_schema.EPOCHS``.

    ``status`` is ``running`` until the last epoch, which is ``completed``, or ``diverged`` where a loss was not finite.
    ``best_epoch`` is the epoch of the best ``choose_by`` metric so far, the earliest of equals; None where the first
    epoch diverged. ``test`` and ``correct`` come with the status ``completed`` alone: figures and correctly classified
    test images of the model of the best epoch. So do, where `Probes` asks for them, ``train_clean`` and
    ``train_clean_best``: figures on the training images without augmentation, of the model after this epoch and of that
    of the best epoch.
    """

    epoch: int
    epochs: int
    train: SplitMetrics
    val: SplitMetrics
    learning_rate: float
    gradient_norm: float | None
    weight_norm: float | None
    dead_fraction: float | None
    images_per_second: float
    seconds: float
    status: EpochStatus
    best_epoch: int | None
    test: SplitMetrics | None = None
    correct: CorrectImages | None = None
    quantiles: tuple[QuantileRow, ...] = ()
    train_clean: SplitMetrics | None = None
    train_clean_best: SplitMetrics | None = None

    def to_row(self) -> dict[str, float | int | None]:
        """Return the columns of the store's ``epochs`` table, less its keys."""
        return {
            "epoch": self.epoch,
            **self.train.columns("train"),
            **self.val.columns("val"),
            **clean_columns(self.train_clean),
            "learning_rate": self.learning_rate,
            "gradient_norm": self.gradient_norm,
            "weight_norm": self.weight_norm,
            "dead_fraction": self.dead_fraction,
            "images_per_second": self.images_per_second,
            "seconds": self.seconds,
        }

    def to_plain(self) -> dict[str, Any]:
        """Return everything as dicts, tuples and numbers."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> EpochMetrics:
        """Return what ``to_plain`` was made from."""
        nested = {
            "train": SplitMetrics(**plain["train"]),
            "val": SplitMetrics(**plain["val"]),
            **{
                name: SplitMetrics(**plain[name]) if plain.get(name) is not None else None
                for name in ("test", "train_clean", "train_clean_best")
            },
            "correct": CorrectImages(**plain["correct"]) if plain.get("correct") else None,
            "quantiles": tuple(QuantileRow(**row) for row in plain["quantiles"]),
        }
        return cls(**{**plain, **nested})
