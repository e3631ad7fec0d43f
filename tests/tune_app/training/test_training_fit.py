from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from search_spaces.config.trial import DecayPolicy, OptimizerName, ScheduleKind, TrialConfig
from search_spaces.store_schema import EPOCHS
from tune_app.data import ImageArrays
from tune_app.data.loaders import EvalLoader
from tune_app.training import EpochMetrics, Probes, evaluate, fit
from tune_app.training.epoch import train_epoch
from tune_app.training.metrics import SplitMetrics
from tune_app.training.state import start

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
ConfigWith = Callable[..., TrialConfig]
Figures = Callable[[list[EpochMetrics]], str]


def test_a_small_network_fits_a_small_task_exactly(arrays: ImageArrays, config_with: ConfigWith) -> None:
    epochs = list(fit(config_with(epochs=8), arrays))
    assert [epoch.epoch for epoch in epochs] == list(range(1, 9))
    assert [epoch.status for epoch in epochs] == ["running"] * 7 + ["completed"]
    assert epochs[-1].train.accuracy == 1
    assert epochs[-1].train.loss < 0.1
    assert epochs[-1].test is not None
    assert epochs[-1].test.accuracy > 0.9


def test_the_same_seed_gives_the_same_bits_regardless_of_earlier_trainings(
    arrays: ImageArrays, config_with: ConfigWith, figures: Figures
) -> None:
    config = config_with(model__family="cnn", augmentation__policy="crop_flip", epochs=2)
    once = figures(list(fit(config, arrays)))
    assert figures(list(fit(config_with(seed=1, model__family="cnn", epochs=1), arrays))) not in once
    random.random()
    np.random.random()  # noqa: NPY002
    torch.rand(3)
    assert figures(list(fit(config, arrays))) == once


def test_two_trainings_in_turns_do_not_disturb_each_other(
    arrays: ImageArrays, config_with: ConfigWith, figures: Figures
) -> None:
    config = config_with(model__family="cnn", epochs=2)
    alone = figures(list(fit(config, arrays)))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = [list(pair) for pair in zip(fit(config, arrays), fit(config, arrays), strict=True)]
    assert figures([first for first, _ in (one, two)]) == alone
    assert figures([second for _, second in (one, two)]) == alone
    assert torch.equal(torch.rand(1), expected)


def test_dropout_masks_are_those_of_seed_and_epoch_whatever_was_trained_before(
    arrays: ImageArrays, config_with: ConfigWith
) -> None:
    def masks(**values: Any) -> list[Tensor]:
        config = config_with(model__family="cnn", model__norm_placement="conv_relu_norm", data__split="fixed", **values)
        training, found = start(config, arrays, CPU), []
        (dropout,) = [module for module in training.model.modules() if isinstance(module, nn.Dropout)]
        dropout.register_forward_hook(lambda module, _, output: found.append(output == 0) if module.training else None)
        for _ in range(2):
            train_epoch(training, Probes())
        return [torch.cat(found[: len(found) // 2]), torch.cat(found[len(found) // 2 :])]

    one, other, second = masks(), masks(optimizer__lr=0.02, augmentation__policy="crop_flip"), masks(seed=1)
    for epoch in (0, 1):
        assert 0.4 < one[epoch].float().mean() < 0.6
        assert torch.equal(one[epoch], other[epoch])
        assert not torch.equal(one[epoch], second[epoch])
    assert not torch.equal(*one)


def test_one_step_is_the_gradient_step_of_the_mean_loss_with_each_groups_decay(
    arrays: ImageArrays, config_with: ConfigWith
) -> None:
    config = config_with(
        batch_size=90,
        optimizer={"lr": 0.5, "weight_decay": 0.2, "momentum": 0.0},
        weight_decay_grouping={"policy": "three_groups", "norm_decay": 0.3, "bias_decay": 0.4},
        model__conv_bias=True,
        epochs=1,
    )
    training = start(config, arrays, CPU)
    expected = copy.deepcopy(training.model).train()
    (batch,) = list(training.train.epoch(1))
    loss = F.cross_entropy(expected(batch[0]), batch[1])
    loss.backward()  # type: ignore[no-untyped-call]
    metrics = train_epoch(training, Probes())
    decays = {"norm": 0.3, "bias": 0.4, "rest": 0.2}
    groups = {p: group["name"] for group in training.optimizer.param_groups for p in group["params"]}
    for before, after in zip(expected.parameters(), training.model.parameters(), strict=True):
        assert before.grad is not None
        by_hand = before - 0.5 * (before.grad + decays[groups[after]] * before)
        torch.testing.assert_close(after, by_hand, rtol=1e-4, atol=1e-6)
    assert set(groups.values()) == set(decays)
    assert metrics.train.loss == pytest.approx(loss.item(), rel=1e-5)
    assert metrics.gradient_norm == pytest.approx(
        sum(float(p.grad.square().sum()) for p in expected.parameters() if p.grad is not None) ** 0.5, rel=1e-4
    )
    squares = sum(float(p.detach().square().sum()) for p in training.model.parameters())
    assert metrics.weight_norm == pytest.approx(squares**0.5, rel=1e-5)


def test_the_gradient_norm_is_the_mean_over_an_epochs_steps(arrays: ImageArrays, config_with: ConfigWith) -> None:
    config = config_with(batch_size=40, optimizer={"lr": 1e-12})  # steps too short to change the weights
    training = start(config, arrays, CPU)
    model = copy.deepcopy(training.model).train()
    norms = []
    for x_NCHW, y_N in training.train.epoch(1):
        model.zero_grad()
        F.cross_entropy(model(x_NCHW), y_N).backward()  # type: ignore[no-untyped-call]
        norms.append(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None) ** 0.5)
    assert len(norms) == 3
    assert train_epoch(training, Probes()).gradient_norm == pytest.approx(sum(norms) / 3, rel=1e-4)


def test_a_clipped_step_has_the_clip_norm_and_the_reported_norm_is_the_one_before(
    arrays: ImageArrays, config_with: ConfigWith
) -> None:
    optimizer = {"lr": 0.5, "weight_decay": 0.0, "momentum": 0.0}
    free = next(fit(config_with(batch_size=90, optimizer=optimizer), arrays))
    training = start(config_with(batch_size=90, optimizer={**optimizer, "clip_norm": 0.01}), arrays, CPU)
    before = [parameter.detach().clone() for parameter in training.model.parameters()]
    clipped = train_epoch(training, Probes())
    moved = sum(
        float((a.detach() - b).square().sum()) for a, b in zip(training.model.parameters(), before, strict=True)
    )
    assert clipped.gradient_norm == free.gradient_norm
    assert free.gradient_norm is not None
    assert free.gradient_norm > 0.01
    assert moved**0.5 == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_a_large_clip_norm_changes_nothing(arrays: ImageArrays, config_with: ConfigWith, figures: Figures) -> None:
    free = figures(list(fit(config_with(epochs=2), arrays)))
    assert figures(list(fit(config_with(epochs=2, optimizer__clip_norm=1e6), arrays))) == free


def test_a_loss_that_is_not_finite_ends_the_training(arrays: ImageArrays, config_with: ConfigWith) -> None:
    config = config_with(model__norm="none", optimizer__lr=1e30, epochs=4)
    epochs = list(fit(config, arrays))
    assert len(epochs) == 1
    assert epochs[0].status == "diverged"
    assert not np.isfinite(epochs[0].train.loss)
    assert epochs[0].best_epoch is None
    assert epochs[0].test is None


def validation_accuracies(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> list[str]:
    """Let validation find these accuracies, one an epoch; return the list of passes (a pass of the test split last)."""
    passes: list[str] = []

    def pretend(model: Any, loader: Any, *args: Any, correct: list[Tensor] | None = None, **kwargs: Any) -> Any:
        passes.append("val" if correct is None else "test")
        accuracy = accuracies[len(passes) - 1] if correct is None else 0.5
        if correct is not None:
            correct.append(torch.ones(30, dtype=torch.bool))
        return SplitMetrics({"loss": 1.0, "accuracy": accuracy}), None

    monkeypatch.setattr("tune_app.training.epoch.evaluate", pretend)
    return passes


def test_the_best_epoch_is_the_earliest_of_the_best_validation_accuracy(
    arrays: ImageArrays, config_with: ConfigWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = validation_accuracies(monkeypatch, [0.5, 0.7, 0.6, 0.7, 0.1])
    epochs = list(fit(config_with(epochs=5), arrays))
    assert [epoch.best_epoch for epoch in epochs] == [1, 2, 2, 2, 2]
    assert passes == ["val"] * 5 + ["test"]


def test_the_test_split_is_read_once_with_the_model_of_the_best_epoch(
    arrays: ImageArrays, config_with: ConfigWith, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    splits: list[str] = []

    def spy(images: ImageArrays, indices: Any, split: Any, *args: Any, **kwargs: Any) -> EvalLoader:
        splits.append(split)
        return EvalLoader(images, indices, split, *args, **kwargs)

    monkeypatch.setattr("tune_app.training.epoch.EvalLoader", spy)
    monkeypatch.setattr("tune_app.training.state.EvalLoader", spy)
    config = config_with(epochs=4, optimizer__lr=0.3)
    epochs = list(fit(config, arrays, checkpoints=tmp_path))
    assert splits == ["val", "test"]
    training = start(config, arrays, CPU)
    training.model.load_state_dict(torch.load(tmp_path / "best.pt", weights_only=True)["model"])
    loader = EvalLoader(arrays, training.splits.test, "test", config, training.train.normalization, CPU)
    correct: list[Tensor] = []
    by_hand, _ = evaluate(training.model, loader, 3, CPU, "float32", correct=correct)
    assert epochs[-1].test == by_hand
    assert by_hand.confusion is not None
    assert sum(by_hand.confusion) == 30
    assert epochs[-1].best_epoch == max(range(1, 5), key=lambda n: (epochs[n - 1].val.accuracy, -n))
    assert all(epoch.test is None for epoch in epochs[:-1])


def test_the_correct_test_images_are_kept_in_the_order_of_the_source(
    arrays: ImageArrays, config_with: ConfigWith, tmp_path: Path
) -> None:
    config = config_with(epochs=1, data__test_size=21)
    *_, last = fit(config, arrays, checkpoints=tmp_path)
    found, training = last.correct, start(config, arrays, CPU)
    assert found is not None
    assert last.test is not None
    assert (found.n, len(found.bits)) == (21, 3)
    bits = np.unpackbits(np.frombuffer(found.bits, np.uint8))
    assert not bits[21:].any()
    assert bits.sum() / 21 == pytest.approx(last.test.accuracy)

    training.model.load_state_dict(torch.load(tmp_path / "best.pt", weights_only=True)["model"])
    indices = np.sort(training.splits.test)
    loader = EvalLoader(arrays, indices, "test", config, training.train.normalization, CPU)
    with torch.inference_mode():
        (logits, labels) = next((training.model.eval()(x), y) for x, y in loader)
    assert bits[:21].tolist() == (logits.argmax(1) == labels).int().tolist()
    *_, again = fit(config, arrays, checkpoints=tmp_path)
    assert again.correct == found


def test_trials_with_the_same_test_images_are_recognised(arrays: ImageArrays, config_with: ConfigWith) -> None:
    def images(**values: Any) -> str:
        *_, last = fit(config_with(**{"epochs": 1, "data__test_size": 15, **values}), arrays)
        assert last.correct is not None
        return last.correct.images

    assert images() == images(seed=1, batch_size=16)
    assert images() != images(data__test_size=18)
    assert images() != images(data__split="fixed", data__split_seed=4)


class CountReads(TorchDispatchMode):
    """Count how often a value is brought from the device to Python."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_no_step_waits_for_the_device(arrays: ImageArrays, config_with: ConfigWith, optimizer: str) -> None:
    reads = []
    for batch_size in (90, 9):
        config = config_with(
            batch_size=batch_size,
            optimizer={"name": optimizer, "lr": 0.01, "clip_norm": 1.0},
            model__norm="batch_instance",
            augmentation__policy="crop_flip",
        )
        training = start(config, arrays, CPU)
        with CountReads() as counter:
            train_epoch(training, Probes())
        reads.append(counter.reads)
    assert reads[0] == reads[1] < 30


def test_the_learning_rate_is_that_of_the_epochs_last_step(arrays: ImageArrays, config_with: ConfigWith) -> None:
    config = config_with(schedule__kind="constant", schedule__warmup_epochs=1.5, optimizer__lr=0.01, epochs=3)
    rates = [epoch.learning_rate for epoch in fit(config, arrays)]
    assert rates == pytest.approx([0.01 * 3 / 4, 0.01, 0.01])  # 3 steps an epoch, 4 (round(4.5)) of warm-up


def test_hes_warmup_ends_when_an_epochs_training_error_was_low_enough(
    arrays: ImageArrays, config_with: ConfigWith
) -> None:
    schedule = {"kind": "constant", "warmup_until_train_error": 0.2}
    epochs = list(fit(config_with(schedule=schedule, optimizer__lr=0.1, epochs=6), arrays))
    low = next(epoch.epoch for epoch in epochs if 1 - epoch.train.accuracy < 0.2)
    assert 1 <= low < 6
    assert [epoch.learning_rate for epoch in epochs] == pytest.approx([0.01] * low + [0.1] * (6 - low))


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_every_optimizer_trains(arrays: ImageArrays, config_with: ConfigWith, name: str) -> None:
    lr = 0.1 if name in ("sgd", "nesterov") else 0.01
    epochs = list(fit(config_with(optimizer={"name": name, "lr": lr}), arrays))
    assert epochs[-1].train.loss < epochs[0].train.loss


@pytest.mark.parametrize("kind", get_args(ScheduleKind))
def test_every_schedule_trains(arrays: ImageArrays, config_with: ConfigWith, kind: str) -> None:
    epochs = list(fit(config_with(schedule__kind=kind), arrays))
    assert epochs[-1].train.loss < epochs[0].train.loss


@pytest.mark.parametrize("policy", get_args(DecayPolicy))
def test_every_decay_policy_trains(arrays: ImageArrays, config_with: ConfigWith, policy: str) -> None:
    epochs = list(fit(config_with(weight_decay_grouping__policy=policy), arrays))
    assert epochs[-1].train.loss < epochs[0].train.loss


def test_bfloat16_trains_to_nearly_the_same(
    arrays: ImageArrays, config_with: ConfigWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    full = next(fit(config_with(), arrays))
    half = next(fit(config_with(precision="bfloat16"), arrays))
    assert half.train.loss != full.train.loss
    assert half.train.loss == pytest.approx(full.train.loss, rel=0.1)


def test_gates_stay_between_zero_and_one(arrays: ImageArrays, config_with: ConfigWith) -> None:
    training = start(config_with(model__norm="batch_instance", optimizer__lr=1.0), arrays, CPU)
    train_epoch(training, Probes())
    gates = [p.detach() for p in training.model.parameters() if getattr(p, "no_decay", False)]
    assert all(bool(((gate >= 0) & (gate <= 1)).all()) for gate in gates)
    assert any(bool((gate < 1).any()) for gate in gates)


def test_an_epochs_row_has_the_stores_columns(arrays: ImageArrays, config_with: ConfigWith) -> None:
    (epoch,) = fit(config_with(epochs=1), arrays)
    assert list(epoch.to_row()) == [name for name in EPOCHS.names if name not in ("digest", "fingerprint", "run_id")]
    assert epoch.to_row()["val_f1_macro"] == epoch.val.f1_macro
    assert EpochMetrics.from_plain(epoch.to_plain()) == epoch


def test_probes_change_no_figure_but_their_own(arrays: ImageArrays, config_with: ConfigWith) -> None:
    (none,) = fit(config_with(epochs=1), arrays, probes=Probes(quantiles=False, norms=False))
    (every,) = fit(config_with(epochs=1), arrays, probes=Probes(norm_inputs=True))
    assert (none.train, none.val, none.test) == (every.train, every.val, every.test)
    assert (none.gradient_norm, none.weight_norm, none.dead_fraction, none.quantiles) == (None, None, None, ())
    layers = [row.layer for row in every.quantiles]
    assert layers[:4] == ["features"] * 4
    assert len(set(layers)) == 8  # the features, and what enters the stem's norm and two for each of three blocks
    assert every.dead_fraction is not None
    assert 0 <= every.dead_fraction <= 1
