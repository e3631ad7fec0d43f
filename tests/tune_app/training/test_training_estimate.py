from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays
from tune_app.training import EpochMetrics, fit
from tune_app.training.estimate import epoch_seconds

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
