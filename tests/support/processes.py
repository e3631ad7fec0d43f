"""Free ports and the processes of a test's home folder, for tests that start a Ray head."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil


def free_ports(count: int) -> list[int]:
    """Return different ports that were free at the time of the call."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the processes whose HOME is this folder: those that the test started, and no others."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def end_processes(home: Path) -> None:
    """Kill the processes of a home folder and wait until they have ended."""
    for process in processes_of(home):
        with suppress(psutil.NoSuchProcess):  # ended since
            process.kill()
    psutil.wait_procs(processes_of(home), timeout=20)


def wait_until(condition: Callable[[], Any], seconds: float = 120, every: float = 0.02) -> Any:
    """Return the first true value of a condition; it is an error if there is none in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(every)
    raise AssertionError(f"not so within {seconds} s")
