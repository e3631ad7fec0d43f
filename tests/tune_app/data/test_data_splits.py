from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.data import ImageArrays, make_splits
from tune_app.data.arrays import image_arrays
from tune_app.data.splits import covering, stratified_order


def arrays_with(train_counts: list[int], test_counts: list[int] | None = None) -> ImageArrays:
    def split(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
        labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
        return np.zeros((len(labels), 4, 4, 1), np.uint8), labels

    classes = tuple(f"class {i}" for i in range(len(train_counts)))
    return image_arrays(*split(train_counts), *split(test_counts or train_counts), classes)


counts = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(counts, st.integers(0, 5), st.data())
@settings(max_examples=60, deadline=None)
def test_every_segment_of_the_order_has_the_class_fractions_of_the_whole(
    counts: list[int], seed: int, data: st.DataObject
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    order = stratified_order(labels, np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(labels)))
    start = data.draw(st.integers(0, len(labels)))
    stop = data.draw(st.integers(start, len(labels)))
    shares = np.array(counts) / len(labels)
    found = np.bincount(labels[order[start:stop]], minlength=len(counts))
    slack = 2 * (0.5 + shares * len(counts) / 2) + 1e-9
    assert (np.abs(found - (stop - start) * shares) <= slack).all()


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_prefixes_of_equal_classes_are_balanced_to_one_image(per_class: int, classes: int, seed: int) -> None:
    labels = np.tile(np.arange(classes), per_class)
    ordered = labels[stratified_order(labels, np.random.default_rng(seed))]
    for size in range(len(labels) + 1):
        found = np.bincount(ordered[:size], minlength=classes)
        assert found.max() - found.min() <= 1


def test_validation_takes_its_share_of_each_class_and_the_rest_trains() -> None:
    arrays = arrays_with([50, 100, 250])
    splits = make_splits(arrays, DataConfig(validation_fraction=0.2), seed=0)
    assert np.bincount(arrays.train_labels[splits.val]).tolist() == [10, 20, 50]
    assert np.bincount(arrays.train_labels[splits.train]).tolist() == [40, 80, 200]
    assert sorted([*splits.train, *splits.val]) == list(range(400))
    assert sorted(splits.test) == list(range(400))
    assert {split.dtype for split in (splits.train, splits.val, splits.test)} == {np.dtype(np.int64)}


def test_smaller_splits_are_the_beginnings_of_larger_ones() -> None:
    arrays = arrays_with([100] * 4)
    large = make_splits(arrays, DataConfig(train_size=200, validation_size=60, test_size=100), seed=0)
    small = make_splits(arrays, DataConfig(train_size=50, validation_size=20, test_size=40), seed=0)
    for name, size in (("train", 50), ("val", 20), ("test", 40)):
        assert getattr(small, name).tolist() == getattr(large, name)[:size].tolist()
        assert len(getattr(small, name)) == size
    assert not set(large.train) & set(large.val)


def test_the_split_follows_the_seed_of_the_trial_and_the_test_images_stay() -> None:
    arrays = arrays_with([30, 30])
    config = DataConfig(test_size=20)
    first, again, other = (make_splits(arrays, config, seed) for seed in (0, 0, 1))
    assert first.train.tolist() == again.train.tolist()
    assert set(first.val) != set(other.val)
    assert first.test.tolist() == other.test.tolist()


def test_a_fixed_split_follows_the_split_seed_alone() -> None:
    arrays = arrays_with([30, 30])
    fixed = DataConfig(split="fixed", split_seed=3)
    first, other_seed = make_splits(arrays, fixed, seed=0), make_splits(arrays, fixed, seed=1)
    other = make_splits(arrays, DataConfig(split="fixed", split_seed=4), seed=0)
    for name in ("train", "val", "test"):
        assert getattr(first, name).tolist() == getattr(other_seed, name).tolist()
        assert getattr(first, name).tolist() != getattr(other, name).tolist()


def test_the_split_of_a_source_with_its_own_validation_images_keeps_them_apart_for_every_seed() -> None:
    labels = np.tile(np.arange(2), 30)
    images = np.zeros((60, 4, 4, 1), np.uint8)
    arrays = image_arrays(images, labels, images, labels, ("a", "b"), validation=20)
    splits = [make_splits(arrays, DataConfig(validation_size=10), seed) for seed in (0, 1)]
    assert all(min(split.val) >= 40 > max(split.train) for split in splits)
    assert set(splits[0].val) != set(splits[1].val)


@pytest.mark.parametrize(
    ("field", "size", "there"), [("train_size", 33, 32), ("validation_size", 9, 8), ("test_size", 41, 40)]
)
def test_the_error_for_a_too_large_size_gives_the_number_of_images(field: str, size: int, there: int) -> None:
    with pytest.raises(StudyError, match=rf"`data.{field}` is {size}, but there are only {there} images"):
        make_splits(arrays_with([20, 20]), DataConfig.model_validate({field: size}), seed=0)


@pytest.mark.parametrize("field", ["train_size", "validation_size", "test_size"])
def test_a_size_below_the_number_of_classes_is_refused(field: str) -> None:
    with pytest.raises(StudyError, match=rf"`data.{field}` gives 2 \w+ images for 3 classes; raise it to 3 or more"):
        make_splits(arrays_with([20] * 3), DataConfig.model_validate({field: 2}), seed=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"`data.validation_fraction` 0.2 gives 20 validation images, none of the rare class 'class 1'; raise it"),
        ({"validation_size": 9}, r"`data.validation_size` gives 9 validation images, none .*; raise it to 10 or more"),
        ({"validation_fraction": 0.001}, r"`data.validation_fraction` 0.001 gives 0 validation images .*; raise it"),
        ({"validation_fraction": 0.999}, r"`data.validation_fraction` 0.999 gives 0 training images .*; lower it"),
    ],
)
def test_a_class_without_an_image_is_explained_by_what_the_study_sets(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        make_splits(arrays_with([98, 2]), DataConfig.model_validate(fields), seed=0)


def test_a_class_without_a_test_image_is_the_source_s() -> None:
    with pytest.raises(StudyError, match=r"`data.source` digits gives 1 test images for 2 classes; add images"):
        make_splits(arrays_with([20, 20], [1, 0]), DataConfig(), seed=0)


@given(counts, st.integers(0, 5), st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_the_covering_prefix_is_the_shortest_of_its_size_with_every_class(
    counts: list[int], seed: int, size: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    found = covering(labels, size)
    allowed = [n for n in range(min(size, len(labels)), len(labels) + 1) if set(labels[:n]) == set(labels)]
    assert found == allowed[0]
