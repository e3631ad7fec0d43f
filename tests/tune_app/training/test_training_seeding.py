from __future__ import annotations

import random

import numpy as np
import torch

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
