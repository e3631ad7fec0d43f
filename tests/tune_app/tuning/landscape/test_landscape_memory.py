"""A part of a landscape where a GPU has too little memory, in this process."""

import numpy as np
import pytest
import torch
from torch import nn

from tune_app.training.landscape import EvaluationImages, Surface, plane_directions
from tune_app.tuning.landscape import task
from tune_app.tuning.landscape.task import SurfaceSpec, landscape_part

SPEC = SurfaceSpec(points=3, images=20)


class Hungry(nn.Module):
    """A linear network that has memory for so many images."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        weight = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
        self.linear = nn.Linear(12, 3)
        self.linear.load_state_dict({"weight": weight, "bias": torch.zeros(3)})

    def forward(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.linear(x.flatten(1))


@pytest.fixture
def prepare(monkeypatch):
    """Let a worker have a network with memory for so many images; return its batches."""

    def prepared(most):
        rng = np.random.default_rng(0)
        images = EvaluationImages(rng.normal(size=(20, 2, 2, 3)).astype(np.float32), np.arange(20) % 3)
        model, batches = Hungry(most), images.batches(20)
        surface = Surface(model, plane_directions(dict(model.named_parameters()), seed=0), batches)
        monkeypatch.setattr(task, "_prepared", lambda refs, spec, stream: (model, batches, surface))
        return batches

    return prepared


@pytest.mark.parametrize("row", [None, 0])
def test_where_memory_runs_out_smaller_batches_give_the_same_figures(prepare, row):
    prepare(20)
    whole = landscape_part((), SPEC, "", row)
    batches = prepare(6)
    for part, expected in zip(landscape_part((), SPEC, "", row), whole, strict=True):
        figures = {name: value for name, value in expected.items() if name not in ("split", "residual", "iterations")}
        assert {name: part[name] for name in figures} == pytest.approx(figures, rel=1e-4)
    assert [len(labels) for _, labels in batches] == [5, 5, 5, 5]


def test_where_there_is_no_memory_for_one_image_the_error_is_raised(prepare):
    batches = prepare(0)
    with pytest.raises(torch.OutOfMemoryError):
        landscape_part((), SPEC, "", None)
    assert {len(labels) for _, labels in batches} == {1}
