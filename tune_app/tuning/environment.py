"""Where a study ran: commit, packages, hardware. Names and versions alone, no environment variables, no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from tune_app.machine import gpu_names, processor_name

_PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "pandas", "pyarrow", "scipy", "statsmodels", "pydantic")


def describe_environment() -> dict[str, Any]:
    """Return the environment of this process as plain data for ``environment.json``."""
    gpus = gpu_names()
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "cpu": processor_name(),
        "cpus": os.cpu_count(),
        "gpus": gpus,
        "cuda": _cuda() if gpus else None,
    }


def _cuda() -> str | None:
    import torch

    return torch.version.cuda


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Return what git says of the source tree this package runs from; None where that is no checkout."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(home), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
