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
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> float:
    """Return the bytes of memory that this process can still use: of the machine, or of its container if less."""
    found = [_of_machine()]
    for limit, usage in _CGROUPS:
        numbers = [_number(Path(name)) for name in (limit, usage)]
        if None not in numbers:
            found.append(float(numbers[0] or 0) - float(numbers[1] or 0))
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


def _number(path: Path) -> int | None:
    """Return the number in a file of the kernel; None where there is no file or no limit."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
