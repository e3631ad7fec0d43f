"""The log of a run, read in parts by byte offset."""

from __future__ import annotations

from pathlib import Path

from tune_app.web.run_models import LogPart

LOG = "log.txt"
"""Name of the log in a run's folder."""
_TAIL_BYTES = 20_000


def read_part(path: Path, offset: int, limit: int, ended: bool) -> LogPart:
    """Return at most ``limit`` bytes from ``offset`` on, whole characters only while more may follow.

    ``ended``: nothing is written any more; the part that reaches the end is complete then.
    """
    content, size = b"", 0
    if path.exists():
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(min(offset, size))
            content = file.read(limit)
    start = min(offset, size)
    if start + len(content) < size or not ended:
        content = content[: len(content) - _unfinished(content)]
    end = start + len(content)
    text = content.decode("utf-8", errors="replace")
    return LogPart(offset=start, next=end, text=text, complete=ended and end >= size)


def last_line(path: Path) -> str:
    """Return the last line of a log that is not empty, at most 500 characters; "" where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else ""


def _unfinished(content: bytes) -> int:
    """Return how many bytes at the end are the beginning of a character that is not whole."""
    for back in range(1, min(4, len(content) + 1)):
        byte = content[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < length else 0
        if byte < 0x80:
            return 0
    return 0
