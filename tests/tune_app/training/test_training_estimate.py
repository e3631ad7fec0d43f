from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces.config.trial import TrialConfig
from search_spaces.study_files import study_from
from tune_app.data import ImageArrays, make_splits, source_key
from tune_app.data.arrays import image_arrays
from tune_app.training import EpochMetrics, fit
from tune_app.training.estimate import epoch_seconds
from tune_app.tuning.rehearsal import _short

CPU = torch.device("cpu")
ConfigWith = Callable[..., TrialConfig]


def test_an_epoch_is_estimated_from_the_speed_of_a_few_steps(
    arrays: ImageArrays, config_with: ConfigWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TrialConfig] = []

    def at_known_speed(config: TrialConfig, *args: Any, **kwargs: Any) -> Iterator[EpochMetrics]:
        asked.append(config)
        for epoch in fit(config, *args, **kwargs):
            yield replace(epoch, images_per_second=8.0, seconds=1.0 + 0.6)

    monkeypatch.setattr("tune_app.training.estimate.fit", at_known_speed)
    # 90 training and 30 validation images: four steps of 2 train 8 in a second, and 0.6 s validate all 30.
    seconds = epoch_seconds(config_with(batch_size=2, epochs=50, schedule__warmup_epochs=10), arrays, CPU)
    assert seconds == pytest.approx(90 / 8 + 0.6)
    assert asked[0].data.train_size == 8
    assert asked[0].epochs == 2


def test_a_data_set_smaller_than_the_few_steps_is_estimated_too(arrays: ImageArrays, config_with: ConfigWith) -> None:
    assert epoch_seconds(config_with(batch_size=512), arrays, CPU) > 0


def with_counts(train: list[int], test: list[int]) -> ImageArrays:
    """Return blank images with as many of each class."""

    def split(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((sum(counts), 16, 16, 1), np.uint8), np.repeat(np.arange(len(counts)), counts)

    return image_arrays(*split(train), *split(test), tuple(f"class {number}" for number in range(len(train))))


@pytest.mark.parametrize(("train", "test"), [([60, 60], [60, 15]), ([2400, 2], [20, 20])])
def test_an_epoch_is_estimated_where_a_class_is_rare(
    config_with: ConfigWith, train: list[int], test: list[int]
) -> None:
    config = config_with(batch_size=64, data__validation_fraction=0.5)
    assert epoch_seconds(config, with_counts(train, test), CPU) > 0


@pytest.mark.parametrize("train", [[600, 2], [2] * 130])
def test_a_rehearsal_has_images_of_every_class(train: list[int]) -> None:
    images = with_counts(train, [20] * len(train))
    spec = study_from(
        {
            "name": "x",
            "seeds": [3],
            "baseline": {"batch_size": 8, "data": {"source": "digits", "validation_fraction": 0.5}},
            "factors": {"epochs": [5]},
        }
    )
    short = _short(spec.baseline, spec, {source_key(spec.baseline.data): images})
    assert (short.seed, short.epochs) == (3, 2)
    splits = make_splits(images, short.data, short.seed)
    for part in (splits.train, splits.val):
        assert set(images.train_labels[part]) == set(range(len(train)))
        assert len(part) >= 100
