"""Images held on the training device during training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tune_app.data.memory import require_gpu_memory

_CHUNK = 1024


@dataclass(frozen=True)
class ResidentImages:
    """A split on a device: its i-th image is ``images[rows[i]]``, its i-th label ``labels[rows[i]]``.

    On the CPU ``images`` shares the memory of the source, which may be read-only: never write to it.
    """

    images: Tensor  # uint8 (M, H, W, C)
    labels: Tensor  # int64 (M,)
    rows: Tensor  # int64 (N,)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images, uint8 (B, H, W, C), and the labels at these positions of the split."""
        rows = self.rows[positions]
        return self.images.index_select(0, rows), self.labels.index_select(0, rows)


def resident_images(
    images: np.ndarray, labels: np.ndarray, indices: np.ndarray, device: torch.device, resolution: int | None
) -> ResidentImages:
    """Return the images ``indices`` on ``device``, resized to squares of ``resolution`` pixels if necessary.

    On the CPU, images that are not resized are not copied; to another device only the images of the split are copied.
    """
    all_images, all_labels = _shared(images), _shared(labels)
    rows = torch.from_numpy(np.array(indices, dtype=np.int64))
    keeps_size = resolution is None or images.shape[1:3] == (resolution, resolution)
    if device.type == "cpu" and keeps_size:
        return ResidentImages(all_images, all_labels, rows)
    if device.type == "cuda":
        side = (images.shape[1] * images.shape[2]) if keeps_size else (resolution or 0) ** 2
        require_gpu_memory(len(rows) * side * images.shape[3], device)
    chunks = [all_images.index_select(0, part).to(device) for part in torch.split(rows, _CHUNK)]
    if not keeps_size:
        assert resolution is not None
        chunks = [resize(chunk, resolution) for chunk in chunks]
    own_rows = torch.arange(len(rows), device=device)
    return ResidentImages(torch.cat(chunks), all_labels.index_select(0, rows).to(device), own_rows)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on ``device``; neither the host nor the device waits for a copy to a GPU.

    Only from pinned memory is such a copy asynchronous. Torch reuses the pinned memory when the copy is done.
    """
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def resize(x_NHWC: Tensor, resolution: int) -> Tensor:
    """Return uint8 images resized to squares of ``resolution`` pixels, bilinear and antialiased."""
    x_NCHW = x_NHWC.permute(0, 3, 1, 2).float()
    size = (resolution, resolution)
    resized = F.interpolate(x_NCHW, size=size, mode="bilinear", antialias=True, align_corners=False)
    return resized.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _shared(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the array's memory. DLPack, unlike ``torch.from_numpy``, accepts read-only arrays."""
    tensor: Tensor = torch.from_dlpack(np.ascontiguousarray(array))  # type: ignore[attr-defined]
    return tensor
