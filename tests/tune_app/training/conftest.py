"""A tiny task for the training tests: three classes of 16 x 16 images that differ in the position of a bright area."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays
from tune_app.training import EpochMetrics

TIMES = ("seconds", "images_per_second")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_arrays(train: int = 120, test: int = 30, seed: int = 0) -> ImageArrays:
    rng = np.random.default_rng(seed)
    labels = np.arange(train + test) % 3
    images = rng.integers(0, 100, (train + test, 16, 16, 1))
    for label in range(3):
        images[labels == label, 5 * label : 5 * label + 5] += 120
    return ImageArrays(
        train_images=images[:train].astype(np.uint8),
        train_labels=labels[:train].astype(np.int64),
        test_images=images[train:].astype(np.uint8),
        test_labels=labels[train:].astype(np.int64),
        classes=("top", "middle", "bottom"),
        fingerprint=f"{seed:016x}",
    )


@pytest.fixture(scope="session")
def arrays() -> ImageArrays:
    return make_arrays()


@pytest.fixture(scope="session")
def arrays_of() -> Callable[..., ImageArrays]:
    return make_arrays


@pytest.fixture(scope="session")
def config_with() -> Callable[..., TrialConfig]:
    """Return a function from dotted paths (dots as double underscores) to a tiny float32 trial config."""
    tiny = {
        "model.depth": 8,
        "model.width": 4,
        "batch_size": 32,
        "epochs": 3,
        "precision": "float32",
        "data.validation_fraction": 0.25,
    }

    def with_values(**values: Any) -> TrialConfig:
        return TrialConfig().with_values({**tiny, **{key.replace("__", "."): value for key, value in values.items()}})

    return with_values


@pytest.fixture(scope="session")
def figures() -> Callable[[list[EpochMetrics]], str]:
    """Return a function that writes out all figures but the times, to the last bit; nan is equal to nan there."""

    def without_times(epochs: list[EpochMetrics]) -> str:
        return "\n".join(
            repr({key: value for key, value in epoch.to_plain().items() if key not in TIMES}) for epoch in epochs
        )

    return without_times
