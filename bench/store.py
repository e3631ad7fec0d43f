"""Measure the time and the memory to read a large results store: 10,000 trials, 1,000 arms of 10 seeds, of 100 epochs.

``python -m bench.store`` prints the figures; each is measured in a separate process, imports not counted in the time
and counted in the memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from analysis import load_study
from analysis.report.study import write_report
from bench.make_store import write_store

REPOSITORY = Path(__file__).resolve().parents[1]

TRIALS, EPOCHS, SEEDS = 10_000, 100, 10
_READ = """
import json, sys, time
from analysis import load_study
start = time.perf_counter()
results = load_study(sys.argv[1])
seconds = time.perf_counter() - start
assert len(results.trials) == int(sys.argv[2]) and not results.problems, results.problems
# not ru_maxrss: a process inherits it from its parent
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps([seconds, peak, len(results.epochs)]))
"""


def measure(trials: int = TRIALS, epochs: int = EPOCHS, files: bool = True) -> dict[str, float]:
    """Return seconds and peak MB for a compacted store, and with ``files`` for one file per trial and table."""
    found: dict[str, float] = {}
    for compact in (True, False) if files else (True,):
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), trials, epochs, compact)
            seconds, peak, rows = _read(Path(folder), trials)
            if compact:
                found["store.report_seconds"] = _report(Path(folder))
        assert rows == trials * epochs
        prefix = "store.load" if compact else "store.load_files"
        found |= {f"{prefix}_seconds": seconds, f"{prefix}_peak_mb": peak}
    return found


def study(trials: int) -> dict[str, Any]:
    """Return the factors, seeds and baseline of a study of ``trials`` trials."""
    rates = [0.001 * (1 + level) for level in range(trials // SEEDS)]
    return {"factors": {"optimizer.lr": rates}, "seeds": SEEDS, "baseline": {"optimizer": {"lr": rates[0]}}}


def _write(folder: Path, trials: int, epochs: int, compact: bool) -> None:
    write_store(folder, epochs=epochs, compact=compact, extras=False, **study(trials))


def _report(folder: Path) -> float:
    """Return the seconds from the store to its finished report."""
    began = time.perf_counter()
    write_report(load_study(folder), folder / "report.html")
    return time.perf_counter() - began


def _read(folder: Path, trials: int) -> tuple[float, float, int]:
    command = [sys.executable, "-c", _READ, str(folder), str(trials)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    seconds, peak, rows = json.loads(done.stdout)
    return seconds, peak, rows


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
