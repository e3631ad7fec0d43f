from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from tune_app.data.normalization import Normalization, measure_normalization

CPU = torch.device("cpu")


def random_images(n: int, channels: int, side: int = 5) -> torch.Tensor:
    return torch.randint(256, (n, side, side + 1, channels), generator=torch.Generator().manual_seed(n)).byte()


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_deviation_are_those_of_the_chosen_images(channels: int) -> None:
    images = random_images(20, channels)
    rows = torch.tensor([3, 4, 17, 9])
    found = measure_normalization(images, rows)
    chosen = images[rows].numpy() / 255.0
    np.testing.assert_allclose(found.mean, chosen.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std, chosen.std(axis=(0, 1, 2)), rtol=1e-12)


def test_normalising_matches_torchvision_and_is_channels_last() -> None:
    images = random_images(6, 3)
    normalization = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    found = normalization.on(CPU, images.shape[2])(images)
    expected = TF.normalize(images.permute(0, 3, 1, 2) / 255, normalization.mean, normalization.std)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_constant_channel_becomes_zero() -> None:
    images = random_images(4, 3)
    images[..., 1] = 77
    normalization = measure_normalization(images, torch.arange(4))
    assert normalization.std[1] == 1
    x_NCHW = normalization.on(CPU, images.shape[2])(images)
    assert x_NCHW[:, 1].abs().max() < 1e-6
    assert abs(x_NCHW[:, 0].std(correction=0).item() - 1) < 1e-5
