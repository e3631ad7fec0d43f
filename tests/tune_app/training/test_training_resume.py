from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays
from tune_app.storage import BEST, LAST
from tune_app.training import EpochMetrics, Probes, fit, read_checkpoint
from tune_app.training.checkpoints import write_checkpoint
from tune_app.training.epoch import train_epoch
from tune_app.training.state import Training

pytestmark = pytest.mark.slow

ConfigWith = Callable[..., TrialConfig]
Figures = Callable[[list[EpochMetrics]], str]
EPOCHS = 4


def hard_config(config_with: ConfigWith, optimizer: str) -> TrialConfig:
    """Return a config that uses every kind of state: moments, dropout, augmentation, both warm-ups, statistics."""
    return config_with(
        epochs=EPOCHS,
        model__family="cnn",
        optimizer={"name": optimizer, "lr": 0.02},
        schedule={"kind": "cosine", "interval": "step", "warmup_epochs": 1.5, "warmup_until_train_error": 0.4},
        augmentation__policy="crop_flip",
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_interrupted_at_any_epoch_continues_to_the_same_metrics(
    arrays: ImageArrays, config_with: ConfigWith, figures: Figures, tmp_path: Path, optimizer: str
) -> None:
    config = hard_config(config_with, optimizer)
    undisturbed = figures(list(fit(config, arrays)))
    for stop in range(1, EPOCHS + 1):
        folder = tmp_path / str(stop)
        cut = fit(config, arrays, checkpoints=folder)
        for _ in range(stop):
            next(cut)
        del cut
        torch.rand(7)
        assert figures(list(fit(config, arrays, checkpoints=folder))) == undisturbed


def test_a_run_interrupted_repeatedly_continues_each_time(
    arrays: ImageArrays, config_with: ConfigWith, figures: Figures, tmp_path: Path
) -> None:
    config = hard_config(config_with, "nesterov")
    for stop in range(1, EPOCHS + 1):
        run = fit(config, arrays, checkpoints=tmp_path)
        epochs = [next(run) for _ in range(stop)]
    assert figures(epochs) == figures(list(fit(config, arrays)))


def test_a_finished_run_is_reported_again_without_training(
    arrays: ImageArrays,
    config_with: ConfigWith,
    figures: Figures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = list(fit(config_with(epochs=2), arrays, checkpoints=tmp_path))
    monkeypatch.setattr("tune_app.training.loop.train_epoch", None)
    again = list(fit(config_with(epochs=2), arrays, checkpoints=tmp_path))
    assert again == first
    assert again[-1].test is not None


def test_a_diverged_run_is_reported_again_without_training(
    arrays: ImageArrays, config_with: ConfigWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_with(model__norm="none", optimizer__lr=1e30)
    list(fit(config, arrays, checkpoints=tmp_path))
    monkeypatch.setattr("tune_app.training.loop.train_epoch", None)
    assert [epoch.status for epoch in fit(config, arrays, checkpoints=tmp_path)] == ["diverged"]
    assert not (tmp_path / BEST).exists()


def test_the_best_checkpoint_contains_what_its_model_is_built_from(
    arrays: ImageArrays, config_with: ConfigWith, tmp_path: Path
) -> None:
    config = config_with(epochs=2)
    epochs = list(fit(config, arrays, checkpoints=tmp_path))
    best = read_checkpoint(tmp_path, BEST, torch.device("cpu"))
    assert TrialConfig.model_validate(best["config"]) == config
    assert (best["digest"], best["fingerprint"]) == (config.digest(), arrays.fingerprint)
    assert best["epoch"] == epochs[-1].best_epoch
    assert best["value"] == max(epoch.val.accuracy for epoch in epochs)
    assert best["classes"] == list(arrays.classes)


def test_a_damaged_checkpoint_does_not_change_the_metrics(
    arrays: ImageArrays,
    config_with: ConfigWith,
    figures: Figures,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = config_with(epochs=2)
    undisturbed = figures(list(fit(config, arrays)))
    next(fit(config, arrays, checkpoints=tmp_path))
    whole = (tmp_path / LAST).read_bytes()
    (tmp_path / LAST).write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        assert figures(list(fit(config, arrays, checkpoints=tmp_path))) == undisturbed
    assert "SHA-256" in caplog.text


def test_other_data_in_the_same_folder_starts_from_the_first_epoch(
    arrays_of: Callable[..., ImageArrays], config_with: ConfigWith, figures: Figures, tmp_path: Path
) -> None:
    config = config_with(epochs=1)
    list(fit(config, arrays_of(seed=1), checkpoints=tmp_path))
    expected = figures(list(fit(config, arrays_of(seed=2))))
    assert figures(list(fit(config, arrays_of(seed=2), checkpoints=tmp_path))) == expected


def test_checkpoints_respect_the_interval_and_one_is_written_at_the_end(
    arrays: ImageArrays, config_with: ConfigWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 101.0, 102.0, 103.0, 110.0, 110.0, 111.0])
    monkeypatch.setattr("tune_app.training.loop.monotonic", lambda: next(clock))
    epochs = fit(config_with(epochs=5), arrays, checkpoints=tmp_path, checkpoint_seconds=9.0)
    held = [len(read_checkpoint(tmp_path, LAST, torch.device("cpu"))["history"]) for _ in epochs]
    assert held == [1, 1, 1, 4, 5]


@pytest.mark.parametrize(
    ("stored", "first"),
    [({"device": "cuda"}, 1), ({"precision": "bfloat16"}, 1), ({"device": None, "precision": None}, 2)],
    ids=["other device type", "other precision", "earlier checkpoint"],
)
def test_a_checkpoint_of_other_hardware_is_not_continued(
    arrays: ImageArrays,
    config_with: ConfigWith,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stored: dict[str, str | None],
    first: int,
) -> None:
    config = config_with(epochs=2)
    next(fit(config, arrays, checkpoints=tmp_path))
    payload = read_checkpoint(tmp_path, LAST, torch.device("cpu"))
    assert (payload.get("device"), payload.get("precision")) == ("cpu", "float32")
    payload = {key: value for key, value in (payload | stored).items() if value is not None}
    write_checkpoint(tmp_path, LAST, payload)
    trained: list[int] = []

    def noted(training: Training, probes: Probes) -> EpochMetrics:
        trained.append(len(training.history) + 1)
        return train_epoch(training, probes)

    monkeypatch.setattr("tune_app.training.loop.train_epoch", noted)
    with caplog.at_level(logging.WARNING):
        assert len(list(fit(config, arrays, checkpoints=tmp_path))) == 2
    assert trained == [1, 2][first - 1 :]
    assert ("training starts from the first epoch" in caplog.text) == (first == 1)
