"""A sequential study whose results are drawn from known effects, so that a run takes milliseconds for each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.own_code import write_package

EFFECTS = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0)
"""True difference of each arm from the reference arm in standard deviations of the paired differences."""

TRAIN = f"""
import os
import signal
from pathlib import Path

import numpy as np

EFFECTS = (0.0, *{EFFECTS})


def train(context, arm: int = 0):
    if context.seed == 6 and Path("kill").exists():  # the working directory is that of the driver
        Path("kill").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    score = EFFECTS[arm] + float(np.random.default_rng([context.seed, arm]).normal()) / 2**0.5
    yield {{"val_score": score}}
    yield context.final({{"test_score": score}})
"""

STUDY: dict[str, Any] = {
    "name": "drawn",
    "task": {"run": "own_pkg.train:train"},
    "baseline": {"epochs": 1},
    "factors": {"args.arm": list(range(len(EFFECTS) + 1))},
    "metrics": {"val_score": {"better": "higher"}, "test_score": {"better": "higher"}},
    "metric": "test_score",
    "rope": 0.5,
    "seeds": 20,
    "sequential": True,
}


def write_study(folder: Path, **changes: Any) -> Path:
    """Write the package and its study; return the study file."""
    return write_package(folder, TRAIN, **(STUDY | {"question": "", "checkpoint_seconds": 60.0} | changes))
