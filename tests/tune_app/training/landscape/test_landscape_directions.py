"""Random directions: what the draw depends on, and the norms filter by filter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tune_app.training.landscape import filter_normalized, plane_directions


@pytest.fixture
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"conv": (4, 3, 3, 3), "head": (2, 5), "bias": (7,), "gain": ()}
    return {name: 5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def norms(tensor: Tensor) -> Tensor:
    return tensor.flatten(1).norm(dim=1)


def test_a_filter_is_scaled_by_its_own_norm_over_the_directions() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    direction = torch.tensor([[1.0, 0.0], [0.6, 0.8], [1.0, 1.0]])
    expected = torch.tensor([[5.0, 0.0], [1.2, 1.6], [0.0, 0.0]])
    torch.testing.assert_close(filter_normalized(direction, weight), expected)


def test_a_direction_that_vanishes_on_a_filter_stays_zero_there() -> None:
    assert torch.equal(filter_normalized(torch.zeros(2, 3), torch.ones(2, 3)), torch.zeros(2, 3))


@pytest.mark.parametrize("orthogonal", [False, True])
def test_every_filter_of_a_direction_has_the_norm_of_the_filter_it_moves(
    weights: dict[str, Tensor], orthogonal: bool
) -> None:
    for direction in plane_directions(weights, seed=0, orthogonal=orthogonal):
        for name, tensor in direction.items():
            torch.testing.assert_close(norms(tensor), norms(weights[name]))


def test_biases_and_norm_parameters_stay_put(weights: dict[str, Tensor]) -> None:
    assert [set(direction) for direction in plane_directions(weights, 0)] == [{"conv", "head"}] * 2


def test_orthogonal_directions_are_orthogonal_in_every_filter_and_others_are_as_drawn(
    weights: dict[str, Tensor],
) -> None:
    first, second = plane_directions(weights, 0, orthogonal=True)
    for name in first:
        inner = (first[name] * second[name]).flatten(1).sum(1) / norms(weights[name]) ** 2
        torch.testing.assert_close(inner, torch.zeros_like(inner), atol=1e-6, rtol=0)
    drawn, other = plane_directions(weights, 0)
    assert torch.equal(drawn["conv"], first["conv"])
    assert (drawn["conv"] * other["conv"]).sum().abs() > 1e-3 * (drawn["conv"].norm() * other["conv"].norm())


def test_a_filter_of_one_weight_has_no_second_orthogonal_direction() -> None:
    first, second = plane_directions({"w": torch.tensor([[2.0], [3.0]])}, 0, orthogonal=True)
    torch.testing.assert_close(first["w"].abs(), torch.tensor([[2.0], [3.0]]))
    assert torch.equal(second["w"], torch.zeros(2, 1))


def test_the_draw_depends_on_seed_stream_axis_and_name_and_on_nothing_else(weights: dict[str, Tensor]) -> None:
    first, second = plane_directions(weights, 1, "arm")
    fewer, _ = plane_directions({"head": weights["head"]}, 1, "arm")
    state = torch.get_rng_state()
    assert torch.equal(first["head"], fewer["head"])
    assert torch.equal(torch.get_rng_state(), state)
    renamed, _ = plane_directions({"other": weights["head"]}, 1, "arm")
    others = [second["head"], plane_directions(weights, 2, "arm")[0]["head"], renamed["other"]]
    others.append(plane_directions(weights, 1, "another arm")[0]["head"])
    assert not any(torch.equal(first["head"], other) for other in others)


def test_models_that_share_a_stream_share_the_draw_before_normalisation() -> None:
    mine, yours = torch.full((3, 4), 2.0), torch.full((3, 4), 6.0)
    (a, _), (b, _) = plane_directions({"w": mine}, 0), plane_directions({"w": yours}, 0)
    torch.testing.assert_close(3 * a["w"], b["w"])


def test_a_direction_has_the_memory_format_of_its_weight() -> None:
    weight = torch.ones(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    direction = plane_directions({"w": weight}, 0)[0]["w"]
    assert direction.stride() == weight.stride()
    torch.testing.assert_close(direction, plane_directions({"w": weight.contiguous()}, 0)[0]["w"])
