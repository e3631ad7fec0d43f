from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tune_app.training.probes import PERCENTILES, dead_fraction, norm_input_rows, quantile_rows, total_norm


def test_quantiles_are_those_of_numpy() -> None:
    values = torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    rows = quantile_rows("features", values)
    assert [row.percentile for row in rows] == list(PERCENTILES) == [1, 20, 80, 99]
    assert {row.layer for row in rows} == {"features"}
    np.testing.assert_allclose([row.value for row in rows], np.percentile(values.numpy(), PERCENTILES), rtol=1e-5)


def test_quantiles_of_very_many_values_come_from_a_fixed_sample_of_them() -> None:
    values = torch.linspace(0, 1, 1_000_000)
    rows = quantile_rows("features", values)
    np.testing.assert_allclose([row.value for row in rows], [0.01, 0.2, 0.8, 0.99], atol=0.006)
    assert rows == quantile_rows("features", values)


def test_a_feature_is_dead_where_it_is_zero_on_every_image() -> None:
    features_ND = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]])
    assert dead_fraction(features_ND) == 0.5


def test_the_total_norm_is_that_of_all_entries_and_leaves_out_what_is_missing() -> None:
    assert float(total_norm([torch.tensor([3.0]), None, torch.tensor([[4.0, 12.0]])])) == pytest.approx(13)
    assert float(total_norm([None])) == 0


def test_norm_inputs_are_what_enters_each_norm_in_layer_order() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Sequential(nn.GroupNorm(1, 2))).eval()
    x_NCHW = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    rows = norm_input_rows(model, lambda: model(x_NCHW))
    assert [row.layer for row in rows] == ["0"] * 4 + ["2.0"] * 4
    inner = torch.relu(x_NCHW / math.sqrt(1 + 1e-5))
    expected = np.concatenate([np.percentile(t.numpy(), PERCENTILES) for t in (x_NCHW, inner)])
    np.testing.assert_allclose([row.value for row in rows], expected, rtol=1e-4, atol=1e-6)
    assert not any(module._forward_pre_hooks for module in model.modules())
