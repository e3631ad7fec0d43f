from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays, make_splits
from tune_app.data.loaders import EvalLoader, TrainLoader
from tune_app.models import build_model
from tune_app.storage import BEST, LAST
from tune_app.training import EpochMetrics, Probes, evaluate, fit, read_checkpoint

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


def test_the_training_images_are_evaluated_without_augmentation_at_the_end_and_no_other_figure_changes(
    config_with: Callable[..., TrialConfig], arrays: ImageArrays, tmp_path: Path
) -> None:
    """A learning rate that grows makes the last model worse than the best one, so the test distinguishes them."""
    config = config_with(augmentation__policy="crop_flip", epochs=4, optimizer__lr=2.0)
    plain = list(fit(config, arrays))
    probed = list(fit(config, arrays, checkpoints=tmp_path, probes=Probes(train_clean=True)))
    last = probed[-1]
    assert last.best_epoch != last.epoch
    assert [epoch.train_clean for epoch in probed[:-1]] == [None] * 3
    without = {"train_clean": None, "train_clean_best": None, "seconds": 0.0, "images_per_second": 0.0}
    assert [dataclasses.replace(each, **without) for each in probed] == [
        dataclasses.replace(each, **without) for each in plain
    ]
    splits = make_splits(arrays, config.data, config.seed)
    normalization = TrainLoader(arrays, splits, config, CPU).normalization
    images = list(EvalLoader(arrays, splits.train, "val", config, normalization, CPU))
    for name, found in ((LAST, last.train_clean), (BEST, last.train_clean_best)):
        model = build_model(config.model, 1, 3, 16)
        model.load_state_dict(read_checkpoint(str(tmp_path), name, CPU)["model"])
        assert found is not None
        assert found.values == evaluate(model, images, 3, CPU, "float32")[0].values
    assert last.train_clean != last.train_clean_best
    row = last.to_row()
    assert row["train_clean_loss"] == last.train_clean.loss  # type: ignore[union-attr]
    assert [name for name in row if "clean" in name] == ["train_clean_loss", "train_clean_accuracy"]
    assert EpochMetrics.from_plain(last.to_plain()) == last
