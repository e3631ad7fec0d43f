from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays, Splits, make_splits
from tune_app.data.arrays import image_arrays
from tune_app.data.augmentation.crop_flip import crop, draw_flips, draw_offsets, mirror
from tune_app.data.loaders import EvalLoader, TrainLoader
from tune_app.data.resident import resident_images, resize
from tune_app.draws import keyed_generator

CPU = torch.device("cpu")
POLICIES = ["none", "crop_flip", "randaugment"]


def numbered_arrays(n: int = 60, side: int = 8, channels: int = 3) -> ImageArrays:
    """Return images that are read-only, as those that processes share are; image i begins with the pixel i."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, side, side, channels), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(n)
    labels = np.arange(n) % 3
    for array in (images, labels):
        array.flags.writeable = False
    return image_arrays(images, labels, images[: n // 2], labels[: n // 2], ("a", "b", "c"))


def config_with(policy: str = "none", data: Mapping[str, Any] | None = None, batch_size: int = 7) -> TrialConfig:
    plain = {"augmentation": {"policy": policy, "padding": 2}, "data": data or {}, "batch_size": batch_size}
    return TrialConfig.model_validate(plain)


def loaders(config: TrialConfig, **kind: int) -> tuple[ImageArrays, Splits, TrainLoader]:
    arrays = numbered_arrays(**kind)
    splits = make_splits(arrays, config.data, config.seed)
    return arrays, splits, TrainLoader(arrays, splits, config, CPU)


def numbers(batches: list[tuple[Tensor, Tensor]], loader: TrainLoader) -> list[int]:
    """Return which images the batches hold, read back from their first pixels."""
    first = torch.cat([x_NCHW[:, 0, 0, 0] for x_NCHW, _ in batches])
    return [
        round(value * 255) for value in (first * loader.normalization.std[0] + loader.normalization.mean[0]).tolist()
    ]


def test_an_epoch_holds_every_image_once_with_its_label_and_the_next_has_another_order() -> None:
    arrays, splits, loader = loaders(config_with())
    first, second = list(loader.epoch(1)), list(loader.epoch(2))
    orders = [numbers(first, loader), numbers(second, loader)]
    for batches, order in zip((first, second), orders, strict=True):
        assert sorted(order) == sorted(splits.train.tolist())
        assert torch.cat([y for _, y in batches]).tolist() == arrays.train_labels[order].tolist()
    assert orders[0] != orders[1]
    assert len(first) == loader.steps_per_epoch == 7
    assert [len(y) for _, y in first] == [7] * 6 + [6]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_have_the_promised_types_and_layout(policy: str, channels: int) -> None:
    _, _, loader = loaders(config_with(policy), channels=channels)
    for x_NCHW, y_N in loader.epoch(1):
        assert x_NCHW.shape[1:] == (channels, 8, 8)
        assert x_NCHW.dtype == torch.float32
        assert y_N.dtype == torch.int64
        assert x_NCHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_epoch_does_not_depend_on_the_epochs_before_it(policy: str) -> None:
    config = config_with(policy)
    _, _, loader = loaders(config)
    third = [list(loader.epoch(epoch)) for epoch in (1, 2, 3)][-1]
    resumed = list(loaders(config)[2].epoch(3))
    for (x, y), (other_x, other_y) in zip(third, resumed, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


def test_every_policy_and_batch_size_has_the_same_order_in_every_epoch_and_another_seed_has_not() -> None:
    configs = [config_with(policy, batch_size=size) for policy in POLICIES for size in (7, 16)]
    epochs = {
        epoch: {tuple(torch.cat([y for _, y in loaders(config)[2].epoch(epoch)]).tolist()) for config in configs}
        for epoch in (1, 2, 3)
    }
    assert [len(orders) for orders in epochs.values()] == [1, 1, 1]
    assert len(set.union(*epochs.values())) == 3
    fixed = {"split": "fixed"}
    one, other = (config_with(data=fixed).model_copy(update={"seed": seed}) for seed in (0, 1))
    loader, another = loaders(one)[2], loaders(other)[2]
    assert numbers(list(loader.epoch(1)), loader) != numbers(list(another.epoch(1)), another)


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_drawn_from_the_global_generator(policy: str) -> None:
    before = torch.get_rng_state()
    _, _, loader = loaders(config_with(policy))
    list(loader.epoch(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_are_the_images_cropped_mirrored_and_normalised_as_drawn() -> None:
    arrays, splits, loader = loaders(config_with("crop_flip"))
    batches = list(loader.epoch(4))
    n = len(splits.train)
    rows = splits.train[torch.randperm(n, generator=keyed_generator(0, 4, "order")).numpy()]
    offsets = draw_offsets(n, 2, keyed_generator(0, 4, "augmentation", "crop"))
    flips = draw_flips(n, keyed_generator(0, 4, "augmentation", "flip"))
    pixels = mirror(crop(torch.from_numpy(arrays.train_images[rows]), offsets, 2), flips).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (loader.normalization.mean, loader.normalization.std))
    torch.testing.assert_close(torch.cat([x for x, _ in batches]), (pixels / 255 - mean) / std, atol=1e-5, rtol=1e-5)


def test_normalization_is_measured_on_the_training_images_used() -> None:
    arrays, splits, loader = loaders(config_with(data={"train_size": 20}))
    chosen = arrays.train_images[splits.train] / 255.0
    assert len(chosen) == 20
    np.testing.assert_allclose(loader.normalization.mean, chosen.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(loader.normalization.std, chosen.std(axis=(0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_evaluation_goes_in_order_through_the_right_images(split: Any) -> None:
    config = config_with("randaugment")
    arrays, splits, train = loaders(config)
    indices = getattr(splits, split)
    loader = EvalLoader(arrays, indices, split, config, train.normalization, CPU, batch_size=5)
    images, labels = (
        (arrays.test_images, arrays.test_labels) if split == "test" else (arrays.train_images, arrays.train_labels)
    )
    batches = list(loader)
    assert {len(y) for _, y in batches[:-1]} == {5}
    assert torch.cat([y for _, y in batches]).tolist() == labels[indices].tolist()
    expected = train.normalization.on(CPU, 8)(torch.from_numpy(images[indices]))
    assert torch.equal(torch.cat([x for x, _ in batches]), expected)
    assert torch.equal(next(iter(loader))[0], batches[0][0])


def test_the_cpu_shares_the_memory_of_read_only_arrays_and_never_writes_to_it() -> None:
    arrays = numbered_arrays()
    before = arrays.train_images.copy()
    images = resident_images(arrays.train_images, arrays.train_labels, np.array([5, 3]), CPU, None)
    assert images.images.data_ptr() == arrays.train_images.ctypes.data
    assert images.labels.data_ptr() == arrays.train_labels.ctypes.data
    same_size = resident_images(arrays.train_images, arrays.train_labels, np.array([5, 3]), CPU, 8)
    assert same_size.images.data_ptr() == arrays.train_images.ctypes.data
    for policy in POLICIES:
        list(loaders(config_with(policy))[2].epoch(1))
    x_NHWC, y_N = images.take(torch.tensor([1]))
    assert (x_NHWC[0, 0, 0, 0].item(), y_N.item()) == (3, 0)
    assert np.array_equal(arrays.train_images, before)


def test_images_of_another_size_are_resized_once_like_pillow_does() -> None:
    from PIL import Image

    smooth = np.add.outer(np.arange(16) * 9, np.arange(16) * 6).astype(np.uint8)
    found = resize(torch.from_numpy(smooth)[None, :, :, None], 6)[0, :, :, 0].numpy()
    expected = np.asarray(Image.fromarray(smooth).resize((6, 6), Image.Resampling.BILINEAR))
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    config = config_with("crop_flip", data={"resolution": 12})
    arrays, splits, loader = loaders(config)
    for x_NCHW, _ in loader.epoch(1):
        assert x_NCHW.shape[1:] == (3, 12, 12)
    val = EvalLoader(arrays, splits.val, "val", config, loader.normalization, CPU)
    resized = resize(torch.from_numpy(arrays.train_images[splits.val]), 12)
    (x_NCHW, y_N), *_ = val
    assert torch.equal(x_NCHW, loader.normalization.on(CPU, 12)(resized))
    assert y_N.tolist() == arrays.train_labels[splits.val].tolist()
