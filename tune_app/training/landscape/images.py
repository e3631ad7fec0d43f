"""The images that a landscape is evaluated on, normalised once, as arrays that processes can share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError
from tune_app.data import ImageArrays, make_splits
from tune_app.data.loaders import EvalLoader, TrainLoader

CPU = torch.device("cpu")


@dataclass(frozen=True)
class EvaluationImages:
    """Normalised images, float32 (N, H, W, C), and their labels, int64 (N,). The arrays may be read-only."""

    images: np.ndarray
    labels: np.ndarray

    def batches(self, size: int, device: torch.device = CPU) -> list[tuple[Tensor, Tensor]]:
        """Return batches of images (B, C, H, W), channels last, and labels on the device; on the CPU without a copy."""
        images, labels = (
            torch.from_dlpack(array).to(device)  # type: ignore[attr-defined]
            for array in (self.images, self.labels)
        )
        parts = (torch.split(tensor, size) for tensor in (images.permute(0, 3, 1, 2), labels))
        return list(zip(*parts, strict=True))


def evaluation_images(
    config: TrialConfig, arrays: ImageArrays, split: str = "test", count: int | None = None
) -> EvaluationImages:
    """Return the first ``count`` images of a split (all if None), not augmented, normalised as in training.

    Splits are in a stratified order, so the first images have the class fractions of the whole split. Raises
    StudyError for an unknown split, or one with fewer images.
    """
    if split not in ("train", "val", "test"):
        raise StudyError(f"`--split` is {split!r}, but must be train, val or test")
    splits = make_splits(arrays, config.data, config.seed)
    indices: np.ndarray = getattr(splits, split)
    if count is not None and not 1 <= count <= len(indices):
        raise StudyError(
            f"`--images` is {count}, but must be from 1 to {len(indices)}, the images of the {split} split"
        )
    normalization = TrainLoader(arrays, splits, config, CPU).normalization
    batches = list(EvalLoader(arrays, indices[:count], split, config, normalization, CPU))  # type: ignore[arg-type]
    x_NHWC = torch.cat([x_NCHW.permute(0, 2, 3, 1) for x_NCHW, _ in batches])
    return EvaluationImages(x_NHWC.contiguous().numpy(), torch.cat([y_N for _, y_N in batches]).numpy())
