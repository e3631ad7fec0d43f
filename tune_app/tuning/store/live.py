"""Live state of a run: ``live.json`` in the study's store, for pages and other readers while trials are running.

The file is a cache for display. Results are in the Parquet tables; nothing reads ``live.json`` to decide anything.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tune_app.storage import Folder

LIVE_FILE = "live.json"
VERSION = 1
POINTS = 120
"""Most recent points of each metric of a running trial that are written."""
LOCAL_SECONDS, REMOTE_SECONDS = 1.0, 10.0
STALE_SECONDS = 60.0


@dataclass
class RunningTrial:
    """What is known of a trial that is running.

    ``points``: metric -> (epoch, value) pairs in stored units, oldest first. ``started_at``: seconds since 1970, UTC.
    """

    digest: str
    fingerprint: str
    arm: str
    seed: int
    epoch: int
    epochs: int
    node: str = ""
    gpus: float = 0.0
    cpus: float = 0.0
    attempt: int = 1
    started_at: float = 0.0
    points: Mapping[str, Iterable[tuple[int, float]]] = field(default_factory=dict)


class LiveWriter:
    """Writes a run's live state, at most once a second on a local disk and every 10 s on an object store.

    Hook: call `update` whenever a trial starts, reports or ends, with all running trials, and `close` at the end of the
    run. A file that cannot be written is skipped: live state never stops training.
    """

    def __init__(self, folder: Folder, study: str, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._study, self._clock = folder, study, clock
        self._least = LOCAL_SECONDS if folder.is_local else REMOTE_SECONDS
        self._started = clock()
        self._written = -math.inf
        self._last: dict[str, Any] = {}
        self.error: OSError | None = None

    def update(
        self,
        running: Iterable[RunningTrial],
        counts: Mapping[str, int],
        total: int | None,
        already: int,
        seconds_left: float | None = None,
        force: bool = False,
    ) -> bool:
        """Write the state unless that was done a moment ago; return whether it was written.

        ``counts``: status -> trials that ended in this run. ``total``: trials that this run is to train, None where
        that is not known. ``already``: trials that were in the store before. ``seconds_left``: estimated, None where
        too little was done to say. ``force`` writes in any case.
        """
        now = self._clock()
        if not force and now - self._written < self._least:
            return False
        trials = [asdict(trial) | {"points": _recent(trial.points)} for trial in running]
        self._last = {"running": trials, "counts": dict(counts), "total": total, "already": already}
        self._last["eta_seconds"] = seconds_left
        return self._write(now, ended=False)

    def close(self) -> None:
        """Write that the run has ended: no trial is running any more."""
        self._last = {"counts": {}, "total": None, "already": 0} | self._last
        self._last |= {"running": [], "eta_seconds": None}
        self._write(self._clock(), ended=True)

    def _write(self, now: float, ended: bool) -> bool:
        state = {
            "version": VERSION,
            "study": self._study,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": self._started,
            "updated_at": now,
            "ended": ended,
            **self._last,
        }
        try:
            self._folder.write(LIVE_FILE, json.dumps(state, allow_nan=False, default=str).encode())
        except OSError as error:
            self.error = error
            return False
        self._written = now
        return True


def _recent(points: Mapping[str, Iterable[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    """Return the last finite points of each metric."""
    return {
        name: [(int(epoch), float(value)) for epoch, value in pairs if math.isfinite(value)][-POINTS:]
        for name, pairs in points.items()
    }


def read_live(folder: Folder) -> Mapping[str, Any] | None:
    """Return the live state in a store; None where there is none, or one that this release cannot read."""
    try:
        found = json.loads(folder.read(LIVE_FILE))
    except (OSError, ValueError, RecursionError):
        return None
    return found if _is_live_state(found) else None


def _is_live_state(found: Any) -> bool:
    """Return whether a document has the parts that readers rely on, of the right kinds."""
    if not isinstance(found, dict) or found.get("version") != VERSION:
        return False
    numbers = (found.get("updated_at"), found.get("already"))
    counts, running = found.get("counts"), found.get("running")
    return (
        all(isinstance(number, int | float) for number in numbers)
        and isinstance(counts, dict)
        and all(isinstance(count, int) for count in counts.values())
        and isinstance(running, list)
        and all(map(_is_running_trial, running))
    )


def _is_running_trial(found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    words = all(isinstance(found.get(name), str) for name in ("digest", "fingerprint", "arm", "node"))
    numbers = all(isinstance(found.get(name), int | float) for name in ("seed", "epoch", "epochs", "gpus"))
    return words and numbers and isinstance(found.get("points"), dict)


def is_current(live: Mapping[str, Any] | None, now: float) -> bool:
    """Return whether the run that wrote the state seems to be going on."""
    return live is not None and not live.get("ended") and now - float(live["updated_at"]) < STALE_SECONDS
