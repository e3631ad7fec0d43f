"""Child processes of a check: all start at once, each says a line when it is ready, and none outlives the check."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def children(arguments: Sequence[str], number: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start ``python`` with these arguments some times, with pipes; at the end kill and wait for those that run."""
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(number):
            command = [sys.executable, *arguments]
            processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()


def ready_lines(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Wait until each has written a line, and return the lines. Raises RuntimeError where one ends before."""
    lines = []
    for process in processes:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of {len(processes)} ended with exit code {process.wait()} before its line")
        lines.append(line.strip())
    return lines
