"""This machine's processor, GPUs and cache folder, found without importing torch where there is no GPU."""

from __future__ import annotations

import os
from pathlib import Path

from search_spaces.errors import StudyError, shown

ROOT_VARIABLE = "TUNE_APP_DATA"

_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of the drivers of NVIDIA, of AMD, and of Windows' Linux."""


def processor_name() -> str:
    """Return the processor's own name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


def gpu_names() -> list[str]:
    """Return the names of the GPUs that torch can use; torch is imported only where a GPU driver is present."""
    if not any(Path(device).exists() for device in _DRIVERS):
        return []
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def cache_folder() -> Path:
    """Return the folder for downloads and what can be computed again.

    It is ``$TUNE_APP_DATA``, or ``tune-app`` among the user's caches (``$XDG_CACHE_HOME``, or ``~/.cache``).
    """
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return resolved(os.environ.get(ROOT_VARIABLE) or f"{caches}/tune-app", ROOT_VARIABLE)


def resolved(path: str, place: str = "`data.path`") -> Path:
    """Return a path absolute, ``~`` and links replaced; StudyError where it cannot be one, such as ``~nosuchuser``."""
    try:
        found = Path(path).expanduser().resolve()
        found.exists()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StudyError(f"{place} is {shown(path)}, which is not a usable path: {reason}") from None
    return found
