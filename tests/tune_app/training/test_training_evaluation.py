from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from search_spaces.config.trial import TrialConfig
from tune_app.models import build_model
from tune_app.training import evaluate

CPU = torch.device("cpu")


def test_evaluation_is_one_pass_in_eval_mode_over_all_batches(config_with: Callable[..., TrialConfig]) -> None:
    generator = torch.Generator().manual_seed(0)
    x_NCHW, y_N = torch.randn(11, 1, 16, 16, generator=generator), torch.arange(11) % 3
    model = build_model(config_with(model__family="cnn").model, 1, 3, 16)
    model.train()
    model(x_NCHW)  # running statistics that differ from the batches'
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batches = [(x_NCHW[:4], y_N[:4]), (x_NCHW[4:8], y_N[4:8]), (x_NCHW[8:], y_N[8:])]
    metrics, features = evaluate(model.train(), batches, 3, CPU, "float32", keep_features=6)
    with torch.no_grad():
        logits, expected = model.eval()(x_NCHW), model.features(x_NCHW[:6])
    assert metrics.loss == pytest.approx(float(F.cross_entropy(logits, y_N)), rel=1e-5)
    assert metrics.accuracy == pytest.approx(float((logits.argmax(1) == y_N).float().mean()))
    assert features is not None
    torch.testing.assert_close(features.clone(), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_features_are_kept_only_where_asked_for(config_with: Callable[..., TrialConfig]) -> None:
    model = build_model(config_with().model, 1, 3, 16)
    batches = [(torch.zeros(2, 1, 16, 16), torch.zeros(2, dtype=torch.int64))]
    assert evaluate(model, batches, 3, CPU, "float32")[1] is None
