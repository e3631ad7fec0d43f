"""The surface: exact on a quadratic, the checkpoint's own loss at the centre, for every family."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.config.trial import Family, ModelConfig
from search_spaces.errors import StudyError
from tune_app.models import build_model
from tune_app.training import evaluate, fit, read_checkpoint
from tune_app.training.landscape import Surface, evaluation_images, plane_directions, read_best

CPU = torch.device("cpu")
FAMILIES: dict[str, dict[str, Any]] = {
    "resnet": {"depth": 8, "width": 4},
    "plain": {"depth": 8, "width": 4},
    "cnn": {"width": 4},
    "resnet18": {"width": 4, "blocks": (1, 1)},
    "resnet50": {"width": 4, "blocks": (1, 1)},
    "resnext": {"width": 4, "blocks": (1, 1), "groups": 2},
    "densenet": {"width": 4, "blocks": (1, 1), "growth_rate": 4},
}


class Quadratic(nn.Module):
    """Two logits whose cross entropy, label 0, is exactly 2 + (w - w0) A (w - w0) / 2, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.center = torch.tensor([1.0, -2.0], dtype=torch.float64)
        self.matrix = torch.tensor([[0.6, 0.2], [0.2, 0.9]], dtype=torch.float64)
        self.weight = nn.Parameter(self.center[None].clone())
        self.bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        step = self.weight[0] - self.center
        loss = 2 + step @ self.matrix @ step / 2
        logit = -torch.log(torch.expm1(loss)) + 0 * self.bias
        return torch.stack([logit, torch.zeros_like(logit)], 1).expand(len(x), 2)


def batch(images: int = 4) -> list[tuple[Tensor, Tensor]]:
    return [(torch.zeros(images, 1, 1, 1), torch.zeros(images, dtype=torch.int64))]


def test_the_surface_of_a_quadratic_loss_is_that_quadratic() -> None:
    model = Quadratic()
    u, v = torch.tensor([[0.5, 1.0]], dtype=torch.float64), torch.tensor([[-1.0, 0.25]], dtype=torch.float64)
    surface = Surface(model, ({"weight": u}, {"weight": v}), batch())
    for y in (-1.0, 0.0, 0.5):
        for point in surface.points([-1.0, 0.0, 2.0], y):
            step = (point.x * u + y * v)[0]
            assert point.loss == pytest.approx(float(2 + step @ model.matrix @ step / 2), rel=1e-12)
            assert (point.y, point.accuracy) == (y, 0.0)
    assert torch.equal(model.weight[0], model.center)


def test_loss_and_accuracy_are_means_over_images_however_they_are_cut() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    x, y = torch.randn(10, 6, 1, 1), torch.arange(10) % 3
    weights = dict(model.named_parameters())
    plane = plane_directions(weights, 0)
    cuts = [[(x, y)], [(x[:7], y[:7]), (x[7:], y[7:])]]
    whole, cut = (Surface(model, plane, batches).points([0.5], -0.5)[0] for batches in cuts)
    with torch.no_grad():
        moved = weights["1.weight"] + 0.5 * plane[0]["1.weight"] - 0.5 * plane[1]["1.weight"]
        logits = F.linear(x.flatten(1), moved, model[1].bias)
    assert whole.loss == pytest.approx(float(F.cross_entropy(logits, y)), rel=1e-6)
    assert whole.accuracy == pytest.approx(float((logits.argmax(1) == y).float().mean()))
    assert (cut.loss, cut.accuracy) == pytest.approx((whole.loss, whole.accuracy), rel=1e-6)


@pytest.mark.parametrize("family", get_args(Family))
def test_the_centre_is_the_models_own_loss_and_points_do_not_depend_on_their_order(family: str) -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig(family=family, **FAMILIES[family]), 3, 4, 16).to(memory_format=torch.channels_last)
    x = torch.randn(6, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    batches = [(x, torch.arange(6) % 4)]
    model(x)  # moves the running statistics away from their start
    own, _ = evaluate(model, batches, 4, CPU, "float32")
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    statistics = {name: b.clone() for name, b in model.named_buffers()}
    surface = Surface(model, plane_directions(weights, 0), batches)
    left, centre, right = surface.points([-0.5, 0.0, 0.5], 0.0)
    assert (centre.loss, centre.accuracy) == pytest.approx((own.loss, own.accuracy), rel=1e-6)
    assert surface.points([0.5, -0.5], 0.0) == [right, left]
    assert left.loss != right.loss
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert all(torch.equal(b, statistics[name]) for name, b in model.named_buffers())


def test_the_centre_of_a_checkpoint_is_the_test_loss_of_its_training(arrays, config_with, tmp_path) -> None:
    config = config_with(model__norm="batch_instance")
    last = list(fit(config, arrays, checkpoints=tmp_path))[-1]
    trained = read_best(tmp_path, config, arrays)
    state = torch.get_rng_state()
    model = trained.build(CPU)
    assert torch.equal(torch.get_rng_state(), state)
    batches = evaluation_images(config, arrays, "test").batches(8)
    plane = plane_directions(dict(model.named_parameters()), 0)
    point = Surface(model, plane, batches).points([0.0], 0.0)[0]
    assert (point.loss, point.accuracy) == pytest.approx((last.test.loss, last.test.accuracy), rel=1e-6)
    for name, tensor in trained.build(CPU).state_dict().items():
        assert torch.equal(tensor, trained.state[name])


def test_images_are_the_first_of_their_split_and_may_be_shared_read_only(arrays, config_with) -> None:
    config = config_with()
    whole, few = evaluation_images(config, arrays, "val"), evaluation_images(config, arrays, "val", 5)
    assert np.array_equal(whole.images[:5], few.images)
    few.images.setflags(write=False)
    few.labels.setflags(write=False)
    batches = few.batches(2)
    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    assert batches[0][0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("split", "count", "message"), [("tset", None, "`--split`"), ("test", 31, "`--images` is 31")])
def test_images_that_are_not_there_are_refused(arrays, config_with, split, count, message) -> None:
    with pytest.raises(StudyError, match=message):
        evaluation_images(config_with(), arrays, split, count)


def test_a_checkpoint_of_another_epoch_or_value_than_the_row_is_refused(arrays, config_with, tmp_path) -> None:
    config = config_with(epochs=2)
    last = list(fit(config, arrays, checkpoints=tmp_path))[-1]
    payload = read_checkpoint(tmp_path, "best.pt", CPU)
    chosen = (payload["epoch"], payload["value"])
    assert chosen[0] == last.best_epoch
    read_best(tmp_path, config, arrays, chosen)
    for other in ((chosen[0] + 1, chosen[1]), (chosen[0], chosen[1] + 1e-9)):
        with pytest.raises(StudyError, match=r"best.pt is of epoch .*: two runs wrote this store.*train it again"):
            read_best(tmp_path, config, arrays, other)


def test_a_checkpoint_that_is_missing_damaged_or_anothers_is_refused(arrays, arrays_of, config_with, tmp_path) -> None:
    config = config_with(epochs=1)
    with pytest.raises(StudyError, match="does not exist"):
        read_best(tmp_path, config, arrays)
    list(fit(config, arrays, checkpoints=tmp_path))
    with pytest.raises(StudyError, match="is of trial"):
        read_best(tmp_path, config_with(epochs=2), arrays)
    with pytest.raises(StudyError, match="on data"):
        read_best(tmp_path, config, arrays_of(seed=1))
    (tmp_path / "best.pt").write_bytes(b"cut off")
    with pytest.raises(StudyError, match="SHA-256"):
        read_best(tmp_path, config, arrays)
