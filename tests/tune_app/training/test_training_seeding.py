from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays
from tune_app.training import fit
from tune_app.training.seeding import GlobalStreams

CPU = torch.device("cpu")


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002


def test_the_same_seed_draws_the_same_regardless_of_earlier_draws() -> None:
    first = GlobalStreams(7, CPU)
    draw()
    second = GlobalStreams(7, CPU)
    with first.active():
        one = draw()
    with second.active():
        two = draw()
    with GlobalStreams(8, CPU).active():
        other = draw()
    assert one == two
    assert not set(one) & set(other)


def test_a_stream_continues_where_it_stopped_and_does_not_change_the_others() -> None:
    whole = GlobalStreams(7, CPU)
    with whole.active():
        expected = [draw(), draw()]
    outside = GlobalStreams(1, CPU)
    with outside.active():
        undisturbed = [draw(), draw()]
    broken = GlobalStreams(7, CPU)
    with GlobalStreams(1, CPU).active():
        found_outside = [draw()]
        with broken.active():
            found = [draw()]
        found_outside.append(draw())
    with broken.active():
        found.append(draw())
    assert found == expected
    assert found_outside == undisturbed


def test_algorithms_are_deterministic_inside_and_as_before_outside() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    with GlobalStreams(0, CPU).active():
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


OWN_NETWORK = """
import torch
from torch import nn


class Putting(nn.Sequential):
    def __init__(self, channels, classes, resolution):
        super().__init__(nn.Flatten(), nn.Linear(channels * resolution**2, classes))

    def forward(self, x):
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))  # has no deterministic version on any device
        assert torch.are_deterministic_algorithms_enabled()
        return super().forward(x)
"""


def test_an_own_network_trains_with_operations_that_have_no_deterministic_version(
    arrays: ImageArrays, config_with: Callable[..., TrialConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_putting.py").write_text(OWN_NETWORK, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    float32_on: list[torch.device] = []

    @contextmanager
    def noted(device: torch.device) -> Iterator[None]:
        float32_on.append(device)
        yield

    monkeypatch.setattr("tune_app.training.epoch.full_float32", noted, raising=False)
    (epoch,) = fit(config_with(model__family="own_putting:Putting", epochs=1), arrays)
    assert epoch.status == "completed"
    assert float32_on == [CPU]


def test_the_built_in_networks_allow_no_operation_without_a_deterministic_version(
    arrays: ImageArrays, config_with: Callable[..., TrialConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*args: object) -> None:
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))

    monkeypatch.setattr("tune_app.training.epoch.set_learning_rate", put)
    with pytest.raises(RuntimeError, match="deterministic"):
        list(fit(config_with(epochs=1), arrays))
