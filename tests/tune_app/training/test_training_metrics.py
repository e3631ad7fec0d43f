from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score
from torch.nn import functional as F

from tune_app.training.metrics import SplitMetrics, Tally

CPU = torch.device("cpu")


def tally_of(true: list[int], predicted: list[int], classes: int, batch: int) -> SplitMetrics:
    """Tally one-hot logits of these predictions, batch by batch."""
    tally = Tally(classes, CPU)
    for start in range(0, len(true), batch):
        y = torch.tensor(true[start : start + batch])
        logits = F.one_hot(torch.tensor(predicted[start : start + batch]), classes).float()
        tally.add(logits, y, F.cross_entropy(logits, y))
    return tally.result(with_confusion=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(1, 7), st.data())
def test_figures_are_those_of_scikit_learn(classes: int, batch: int, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=30))
    true, predicted = [list(side) for side in zip(*pairs, strict=True)]
    found = tally_of(true, predicted, classes, batch)
    assert found.f1_macro == pytest.approx(f1_score(true, predicted, average="macro", zero_division=0), abs=1e-12)
    assert found.f1_micro == pytest.approx(f1_score(true, predicted, average="micro", zero_division=0), abs=1e-12)
    assert found.accuracy == pytest.approx(np.mean(np.equal(true, predicted)), abs=1e-12)
    expected = confusion_matrix(true, predicted, labels=range(classes))
    np.testing.assert_array_equal(np.reshape(found.confusion, (classes, classes)), expected)


def test_loss_is_the_mean_over_images_though_the_last_batch_is_short() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, y = torch.randn(10, 4, generator=generator), torch.arange(10) % 4
    tally = Tally(4, CPU)
    for part in (slice(0, 4), slice(4, 8), slice(8, 10)):
        tally.add(logits[part], y[part], F.cross_entropy(logits[part], y[part]))
    assert tally.result().loss == pytest.approx(float(F.cross_entropy(logits.double(), y)), rel=1e-6)


def test_one_loss_that_is_not_finite_shows_in_the_mean() -> None:
    tally = Tally(2, CPU)
    for loss in (1.0, float("inf"), 2.0):
        tally.add(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), torch.tensor(loss))
    assert tally.result().loss == float("inf")


def test_the_confusion_matrix_comes_only_when_asked_for() -> None:
    tally = Tally(2, CPU)
    tally.add(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), torch.tensor(0.5))
    assert tally.result().confusion is None
    assert tally.result(with_confusion=True).confusion == (1, 0, 1, 0)
