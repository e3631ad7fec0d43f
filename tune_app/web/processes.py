"""Runs as child processes: started in a process group of their own, found again after a restart, stopped in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

STOP_SECONDS = 60.0
"""After the first signal a run has this long to save its trials; a second signal and, later, SIGKILL follow."""
KILL_SECONDS = 20.0
START_SECONDS = 30.0
"""A run that has not written its process ids after this long was killed before it could."""
_CHILD = Path(__file__).with_name("child.py")
_PASSED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SHELL", "TERM",
    "PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "XDG_CACHE_HOME",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "NVIDIA_VISIBLE_DEVICES", "MPLBACKEND",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TUNE_APP_DATA", "RAY_TMPDIR",
    "RAY_USAGE_STATS_ENABLED",
)  # fmt: skip
_PASSED_PREFIXES = ("LC_", "PYTORCH_", "TORCH_", "NCCL_")
_STORE_VARIABLES = {"s3": "AWS_", "s3a": "AWS_", "gs": "GOOGLE_", "gcs": "GOOGLE_", "az": "AZURE_", "abfs": "AZURE_"}
"""Credentials that a run needs to write its results there."""


def environment(results: str, passed: Sequence[str], source: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a run: what Python, CUDA and the results folder need, and nothing else."""
    source = os.environ if source is None else source
    prefixes = list(_PASSED_PREFIXES)
    if "://" in results:
        prefixes += filter(None, [_STORE_VARIABLES.get(results.split("://", 1)[0])])
    names = {*_PASSED, *passed}
    kept = {name: value for name, value in source.items() if name in names or name.startswith(tuple(prefixes))}
    return kept | {"PYTHONUNBUFFERED": "1"}


def start(folder: Path, command: Sequence[str], variables: Mapping[str, str]) -> None:
    """Start a run whose files are in ``folder``, in a session of its own; its parent process notes its end."""
    for name in ("process.json", "exit.json"):
        (folder / name).unlink(missing_ok=True)
    parent = subprocess.Popen(
        [sys.executable, "-P", str(_CHILD), str(folder), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=dict(variables),
    )
    _started.append(parent)


_started: list[subprocess.Popen[bytes]] = []
"""Children of this process, so that ended ones are collected by the operating system."""


def collect() -> None:
    """Collect the children that have ended."""
    _started[:] = [child for child in _started if child.poll() is None]


def exit_of(folder: Path) -> tuple[int, float] | None:
    """Return exit code and time of a run that has ended; None where it has not, or was killed with its parent."""
    found = _document(folder / "exit.json")
    return (int(found["code"]), found["at"]) if found else None


def is_alive(folder: Path, started_at: float) -> bool:
    """Return whether a run or its parent is still there, or may be about to say so."""
    if not (folder / "process.json").exists():
        return time.time() - started_at < START_SECONDS
    return any(_is_ours(pid, folder) for pid in _pids(folder))


def signal_run(folder: Path, number: signal.Signals) -> bool:
    """Send a signal to the run itself, which ends its workers in order; False where it has not started yet."""
    found = _document(folder / "process.json")
    if not found or not _is_ours(int(found["run"]), folder):
        return False
    with suppress(ProcessLookupError):
        os.kill(int(found["run"]), number)
    return True


def kill(folder: Path) -> None:
    """Kill a run, its parent and all that they started."""
    processes = []
    for pid in _pids(folder):
        with suppress(psutil.Error):  # it may end between the two
            processes += [psutil.Process(pid)] if _is_ours(pid, folder) else []
    for process in processes:
        with suppress(psutil.Error):
            processes += [child for child in process.children(recursive=True) if child not in processes]
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _pids(folder: Path) -> list[int]:
    found = _document(folder / "process.json")
    return [int(found["parent"]), int(found["run"])] if found else []


def _is_ours(pid: int, folder: Path) -> bool:
    """Return whether a process id belongs to this run and not, later, to another process: its command names the run."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in process.cmdline())
    except psutil.Error:
        return False


def _document(path: Path) -> dict[str, float] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def next_signal(stopping_since: float, sent: int, now: float | None = None) -> signal.Signals | None:
    """Return the signal that is due for a run that is being stopped; None while it still has time."""
    waited = (time.time() if now is None else now) - stopping_since
    due = [(0.0, signal.SIGINT), (STOP_SECONDS, signal.SIGTERM), (STOP_SECONDS + KILL_SECONDS, signal.SIGKILL)]
    return due[sent][1] if sent < len(due) and waited >= due[sent][0] else None
