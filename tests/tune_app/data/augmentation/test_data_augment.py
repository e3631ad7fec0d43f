from __future__ import annotations

from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandAugment, v2
from torchvision.transforms import functional as TF1

from search_spaces.config.trial import AugmentationConfig, AugmentationPolicy
from tune_app.data.augmentation.crop_flip import crop, draw_flips, draw_offsets, mirror
from tune_app.data.augmentation.grid import GRID_OPERATIONS, SOURCE_STRENGTHS, augmentation_grid
from tune_app.data.augmentation.operations import OPERATIONS, strength_at
from tune_app.data.augmentation.policies import AUGMENTATIONS, build_augmentation
from tune_app.data.augmentation.randaugment import apply_choices, draw_choices
from tune_app.draws import keyed_generator

CPU = torch.device("cpu")
NAMES = tuple(OPERATIONS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, channels: int = 3, side: int = 16) -> Tensor:
    return torch.randint(256, (n, side, side, channels), generator=generator(7)).byte()


draw = partial(keyed_generator, 0, 1, "augmentation")


def apply(name: str, strength: float, image_HW: np.ndarray) -> np.ndarray:
    return OPERATIONS[name].apply(torch.from_numpy(image_HW)[None, None], strength)[0, 0].numpy()


def test_policies_are_those_of_the_vocabulary() -> None:
    assert set(AUGMENTATIONS) == set(get_args(AugmentationPolicy))


def test_crop_equals_cropping_each_padded_image_at_its_offsets() -> None:
    x_NHWC = images(12)
    offsets = draw_offsets(12, 4, generator())
    found = crop(x_NHWC, offsets, 4)
    for image, (top, left), result in zip(x_NHWC, offsets.tolist(), found, strict=True):
        padded = np.pad(image.numpy(), ((4, 4), (4, 4), (0, 0)))
        assert np.array_equal(result.numpy(), padded[top : top + 16, left : left + 16])


def test_offsets_reach_both_ends_evenly_and_half_of_the_images_are_mirrored() -> None:
    offsets = draw_offsets(9000, 4, generator())
    for axis in offsets.unbind(1):
        counts = torch.bincount(axis, minlength=9)
        assert len(counts) == 9
        assert (counts - 1000).abs().max() < 5 * 30  # five standard deviations of a binomial count
    assert abs(draw_flips(10_000, generator()).float().mean().item() - 0.5) < 0.025


def test_mirroring_exchanges_left_and_right_of_the_chosen_images() -> None:
    x_NHWC = images(3)
    found = mirror(x_NHWC, torch.tensor([True, False, True])).numpy()
    assert np.array_equal(found[0], x_NHWC[0].numpy()[:, ::-1])
    assert np.array_equal(found[1], x_NHWC[1].numpy())
    assert np.array_equal(found[2], x_NHWC[2].numpy()[:, ::-1])


@pytest.mark.parametrize("magnitude", [0, 9, 17, 30])
def test_strengths_are_those_of_torchvision(magnitude: int) -> None:
    height, width = 24, 32
    space = RandAugment()._augmentation_space(31, (height, width))
    assert set(space) == set(OPERATIONS)
    for name, (strengths, signed) in space.items():
        expected = strengths[magnitude].item() if strengths.ndim else 0.0
        assert strength_at(OPERATIONS[name], magnitude, height, width) == pytest.approx(expected, abs=1e-4), name
        assert OPERATIONS[name].signed == signed, name


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("magnitude", [9, 30])
@pytest.mark.parametrize("negative", [0, 1])
def test_a_batch_of_all_operations_equals_torchvision_image_by_image(
    channels: int, magnitude: int, negative: int
) -> None:
    x_NHWC = images(2 * len(NAMES), channels)
    reference = v2.RandAugment()
    index = torch.arange(2 * len(NAMES)) % len(NAMES)
    signed = torch.tensor([operation.signed for operation in OPERATIONS.values()])[index].long()
    found = apply_choices(x_NHWC, (2 * index + negative * signed)[:, None], magnitude)
    for i, image in enumerate(x_NHWC):
        name = NAMES[i % len(NAMES)]
        strength = strength_at(OPERATIONS[name], magnitude, 16, 16)
        strength = -strength if negative and OPERATIONS[name].signed else strength
        theirs = strength / 255 if name == "Solarize" else strength  # torchvision's v2 has this one as a share
        picture = image.permute(2, 0, 1)
        expected = reference._apply_image_or_video_transform(
            picture, name, theirs, InterpolationMode.NEAREST, {Tensor: None}
        )
        assert torch.equal(found[i], expected.permute(1, 2, 0)), name


def test_rounds_follow_one_another() -> None:
    x_NHWC = images(1)
    solarize, posterize = NAMES.index("Solarize"), NAMES.index("Posterize")
    found = apply_choices(x_NHWC, torch.tensor([[2 * solarize, 2 * posterize]]), 20)
    expected = TF1.posterize(TF1.solarize(x_NHWC[0].permute(2, 0, 1), 85), 5)
    assert torch.equal(found[0].permute(2, 0, 1), expected)


def test_operations_and_signs_are_drawn_evenly() -> None:
    choices = draw_choices(14_000, 2, draw)
    assert choices.shape == (14_000, 2)
    by_operation = torch.bincount(choices[:, 1] // 2, minlength=14)
    assert (by_operation - 1000).abs().max() < 5 * 31
    for index, operation in enumerate(OPERATIONS.values()):
        negative = (choices[choices // 2 == index] % 2).float().mean().item()
        assert abs(negative - (0.5 if operation.signed else 0.0)) < 0.06


def test_positive_geometry_moves_a_mark_where_the_table_says() -> None:
    def marked(row: int, column: int) -> np.ndarray:
        picture = np.zeros((21, 21), np.uint8)
        picture[row, column] = 255
        return picture

    def mark(picture: np.ndarray) -> list[tuple[int, int]]:
        return [(int(row), int(column)) for row, column in zip(*np.nonzero(picture), strict=True)]

    assert mark(apply("TranslateX", 3.9, marked(10, 10))) == [(10, 13)]
    assert mark(apply("TranslateX", -3.9, marked(10, 10))) == [(10, 7)]
    assert mark(apply("TranslateY", 4, marked(10, 10))) == [(14, 10)]
    assert mark(apply("TranslateY", -4, marked(10, 10))) == [(6, 10)]
    # Rotate turns against the clock: what is right of the centre goes up.
    assert mark(apply("Rotate", 90, marked(10, 18))) == [(2, 10)]
    assert mark(apply("Rotate", -90, marked(10, 18))) == [(18, 10)]
    # A shear of 0.25 moves a row by a quarter of its distance, 10.5 pixels, from the upper edge.
    assert mark(apply("ShearX", 0.25, marked(10, 10))) == [(10, 7)]
    assert mark(apply("ShearX", -0.25, marked(10, 10))) == [(10, 13)]
    assert mark(apply("ShearY", 0.25, marked(10, 10))) == [(7, 10)]
    assert mark(apply("ShearY", -0.25, marked(10, 10))) == [(13, 10)]
    assert mark(apply("ShearX", 0.25, marked(0, 10))) == [(0, 10)]


def test_colour_operations_do_what_their_strength_says() -> None:
    picture = np.array([[40, 80], [120, 200]], np.uint8)
    assert apply("Brightness", 0.25, picture).tolist() == [[50, 100], [150, 250]]
    assert apply("Brightness", -0.5, picture).tolist() == [[20, 40], [60, 100]]
    # Contrast moves away from the mean, 110, and values stay in 0 to 255.
    assert apply("Contrast", 0.5, picture).tolist() == [[5, 65], [125, 245]]
    assert apply("Contrast", -1.0, picture).tolist() == [[110, 110], [110, 110]]
    assert apply("Posterize", 2, picture).tolist() == [[0, 64], [64, 192]]
    assert apply("Solarize", 120, picture).tolist() == [[40, 80], [135, 55]]
    # 40 to 200 are spread over the whole scale, up to the rounding of a float.
    assert np.abs(apply("AutoContrast", 0, picture) - (picture - 40.0) * 255 / 160).max() <= 1
    assert apply("Identity", 0, picture).tolist() == picture.tolist()
    coloured = torch.tensor([100, 50, 200], dtype=torch.uint8).view(1, 3, 1, 1)
    grey = int(0.2989 * 100 + 0.587 * 50 + 0.114 * 200)
    assert OPERATIONS["Color"].apply(coloured, -1.0).flatten().tolist() == [grey] * 3
    stronger = OPERATIONS["Color"].apply(coloured, 0.2).flatten().tolist()
    assert stronger[2] > 200
    assert stronger[1] < 50


def test_sharpening_raises_an_edge_and_equalizing_fills_the_scale() -> None:
    edge = np.full((7, 7), 100, np.uint8)
    edge[:, 4:] = 150
    assert apply("Sharpness", 0.9, edge)[3, 3] < 100
    assert apply("Sharpness", -0.9, edge)[3, 3] > 100
    levels = np.repeat(np.arange(100, 116, dtype=np.uint8), 64).reshape(32, 32)
    equal = np.unique(apply("Equalize", 0, levels))
    assert (equal[0], equal[-1]) == (0, 255)
    assert np.abs(np.diff(equal.astype(int)) - 17).max() <= 5


def test_randaugment_comes_before_crop_and_mirror() -> None:
    config = AugmentationConfig(policy="randaugment", operations=1, magnitude=12, padding=2)
    x_NHWC = images(9)
    found = build_augmentation(config)(9, draw, CPU)(x_NHWC[2:6], slice(2, 6))
    choices, offsets, flips = draw_choices(9, 1, draw), draw_offsets(9, 2, draw("crop")), draw_flips(9, draw("flip"))
    expected = mirror(crop(apply_choices(x_NHWC[2:6], choices[2:6], 12), offsets[2:6], 2), flips[2:6])
    assert torch.equal(found, expected)


def test_policies_share_the_draws_of_the_operations_that_both_have() -> None:
    asked: dict[str, dict[tuple[object, ...], int]] = {}
    for name, fields in {
        "crop_flip": {"policy": "crop_flip"},
        "flip alone": {"policy": "crop_flip", "padding": 0},
        "one": {"policy": "randaugment", "operations": 1},
        "two": {"policy": "randaugment", "operations": 2, "magnitude": 5},
    }.items():
        keys = asked.setdefault(name, {})

        def recorded(*key: int | str, keys: dict[tuple[object, ...], int] = keys) -> torch.Generator:
            found = draw(*key)
            keys[key] = found.initial_seed()
            return found

        build_augmentation(AugmentationConfig(**fields))(20, recorded, CPU)
    assert {("crop",), ("flip",)} == set(asked["crop_flip"])
    assert set(asked["two"]) - set(asked["one"]) == {("randaugment", 1)}
    for keys in asked.values():
        shared = set(keys) & set(asked["two"])
        assert ("flip",) in shared
        assert all(keys[key] == asked["two"][key] for key in shared)
    assert torch.equal(draw_choices(50, 1, draw)[:, 0], draw_choices(50, 2, draw)[:, 0])
    assert not torch.equal(*draw_choices(50, 2, draw).unbind(1))


def test_two_paddings_move_an_image_in_one_direction() -> None:
    small, large = (draw_offsets(4000, padding, generator()) - padding for padding in (2, 4))
    assert ((small * large) >= 0).all()
    assert torch.corrcoef(torch.stack([small[:, 0], large[:, 0]]).double())[0, 1] > 0.95


def test_what_is_switched_off_does_nothing() -> None:
    x_NHWC = images(5)
    off = AugmentationConfig(policy="crop_flip", padding=0, flip=False)
    for config in (AugmentationConfig(policy="none"), off):
        assert torch.equal(build_augmentation(config)(5, draw, CPU)(x_NHWC, slice(0, 5)), x_NHWC)


def test_the_grid_of_the_source_rotates_by_30_degrees_and_keeps_3_bits() -> None:
    image = images(1, 3, side=32)[0].numpy()
    grid = dict(augmentation_grid(image, 20, SOURCE_STRENGTHS))
    assert np.array_equal(grid["Posterize 3 bits"], image & 0b11100000)
    rotated = TF1.rotate(torch.from_numpy(image).permute(2, 0, 1), 30.0).permute(1, 2, 0)
    assert np.array_equal(grid["Rotate +30°"], rotated.numpy())
    assert "Brightness +60%" in grid


@pytest.mark.parametrize("channels", [1, 3])
def test_the_grid_shows_the_original_and_the_result_of_twelve_operations(channels: int) -> None:
    image = images(1, channels, side=32)[0].numpy()
    grid = augmentation_grid(image, magnitude=20)
    assert [label for label, _ in grid] == [
        "Original",
        "ShearX +0.20 px per row",
        "ShearY +0.20 px per column",
        "TranslateX +9 px",
        "TranslateY +9 px",
        "Rotate +20°",
        "Brightness +60%",
        "Color +60%",
        "Contrast +60%",
        "Sharpness +60%",
        "Posterize 5 bits",
        "Solarize from 85",
        "Equalize",
    ]
    assert np.array_equal(grid[0][1], image)
    trained_with = 2 * torch.tensor([NAMES.index(name) for name in GRID_OPERATIONS])
    expected = apply_choices(torch.from_numpy(image)[None].repeat(12, 1, 1, 1), trained_with[:, None], 20)
    for (label, picture), trained in zip(grid[1:], expected, strict=True):
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, trained.numpy()), label
