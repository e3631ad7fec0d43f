"""This machine's processor and GPUs, found without importing torch where there is no GPU."""

from __future__ import annotations

from pathlib import Path

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
