"""How far estimates are from what runs take: of `plan` before anything was measured here, and of `run` after that.

The quickstart with more seeds, so that it takes about a minute; its cache of speeds is empty at first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SEEDS, SEEDS_BEFORE = 30, 2
"""Of the run that is estimated, and of the run whose measurements its estimate takes."""
_SECONDS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
_DURATION = r"((?:[\d.]+ (?:d|h|min|s) ?)+)"


def measure() -> dict[str, float]:
    """Return the seconds of both estimates and of the run, and each estimate over what the run took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planned = _output(folder, "plan", "quickstart", "--set", f"seeds={SEEDS}")
        _output(folder, "run", "quickstart", "--set", f"seeds={SEEDS_BEFORE}", "--results", "before")
        ran = _output(folder, "run", "quickstart", "--set", f"seeds={SEEDS}")
    plan = _seconds(rf"about {_DURATION}on this machine", planned)
    estimated, took = (_seconds(rf"{word} {_DURATION}", ran) for word in ("estimated", "took"))
    return {
        "estimate.plan_seconds": plan,
        "estimate.run_seconds": estimated,
        "estimate.took_seconds": took,
        "estimate.plan_over_took": plan / took,
        "estimate.run_over_took": estimated / took,
    }


def _output(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"TUNE_APP_DATA": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "tune_app.cli", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip


def _seconds(pattern: str, text: str) -> float:
    """Return the seconds of the duration that the pattern finds, such as ``1 min 20 s``; ValueError if none."""
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"no {pattern!r} in:\n{text}")
    return sum(float(value) * _SECONDS[unit] for value, unit in re.findall(r"([\d.]+) (d|h|min|s)", found[1]))
