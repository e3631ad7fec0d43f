"""Whether images fit: decoded images stay in memory as a whole, so too many are refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.errors import StudyError

if TYPE_CHECKING:
    import torch

GIB = 1024**3
SHARE = 0.8
"""How much of the available memory the images of a source may take."""
_V1, _V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
_CGROUPS = (
    (f"{_V2}/memory.max", f"{_V2}/memory.current", f"{_V2}/memory.stat", ""),
    (f"{_V1}/memory.limit_in_bytes", f"{_V1}/memory.usage_in_bytes", f"{_V1}/memory.stat", "total_"),
)
"""Limit, usage and statistics of a container, and what the names in its statistics begin with."""


def available_memory() -> float:
    """Return the bytes of memory that this process can still use: of the machine, or of its container if less.

    Files in the page cache count as available: the kernel drops them where memory is needed.
    """
    found = [_of_machine()]
    for limit_file, usage_file, statistics, prefix in _CGROUPS:
        limit, usage = _number(Path(limit_file)), _number(Path(usage_file))
        if limit is not None and usage is not None:
            found.append(float(min(limit, limit - usage + _cached_files(Path(statistics), prefix))))
    return min(found)


def require_memory(images: int, height: int, width: int, channels: int, place: str) -> None:
    """Raise StudyError where the pixels of a source, one byte each, do not fit into the memory of this machine."""
    needed, available = images * height * width * channels, available_memory()
    if needed > SHARE * available:
        raise StudyError(
            f"{place}: {images:,} images of {width} x {height} pixels take {needed / GIB:.3g} GiB, but this machine "
            f"has {available / GIB:.3g} GiB available, and all images are held in memory: set a lower "
            "`data.resolution`, use fewer images, or a machine with more memory"
        )


def require_gpu_memory(needed: int, device: torch.device) -> None:
    """Raise StudyError where the images of a split are more than the whole memory of a GPU.

    What fits into the GPU but not into a trial's share ends as out of memory, and the trial is tried again with more.
    """
    total = gpu_memory(device)
    if needed > SHARE * total:
        raise StudyError(
            f"the images of a split take {needed / GIB:.3g} GiB, but {device} has {total / GIB:.3g} GiB in all, and "
            "they are held there during training: set a lower `data.resolution` or `data.train_size`, train on the CPU "
            "(`resources: {gpu: 0}`), or use a larger GPU"
        )


def gpu_memory(device: torch.device) -> int:
    """Return the bytes of memory of a GPU."""
    import torch  # not at the top: the driver imports this module, and does without torch

    return int(torch.cuda.get_device_properties(device).total_memory)


def _of_machine() -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("inf")
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), float("inf"))


def _cached_files(statistics: Path, prefix: str) -> int:
    """Return the bytes of files in the page cache of a container; 0 where there are no statistics."""
    try:
        lines = statistics.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    names = (f"{prefix}inactive_file", f"{prefix}active_file")
    return sum(int(line.split()[1]) for line in lines if line.startswith(tuple(f"{name} " for name in names)))


def _number(path: Path) -> int | None:
    """Return the number in a file of the kernel; None where there is no file or no limit."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
