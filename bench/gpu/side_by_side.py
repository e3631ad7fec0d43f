"""Part `side_by_side`: 1 to 16 trials at once as processes on one device, against one.

python -m bench.gpu.side_by_side DEVICE SIZE SECONDS    one trial: waits for a line of input, then trains
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch

from bench.gpu.children import children, ready_lines
from bench.gpu.results import Check, Measured
from bench.gpu.settings import Settings
from bench.gpu.speed import resnet
from bench.training import synthetic_arrays
from tune_app.training import Probes, set_threads
from tune_app.training.epoch import train_epoch
from tune_app.training.state import start


def checks(settings: Settings) -> Iterator[Check]:
    """Yield a measurement for each number of trials."""
    what = "images per second of all trials together, each `fit` of a ResNet-14 at batch 128 in a process of its own, "
    what += "validation included"
    for trials in (1, 2) if settings.smoke else (1, 2, 4, 8, 16):
        yield Check(f"{trials} at once", what, partial(_together, settings, trials))


def _together(settings: Settings, trials: int) -> Mapping[str, Measured]:
    """Start the trials, wait until each has trained an epoch, and let all of them train for the same time."""
    seconds = 0.2 if settings.smoke else 8.0
    arguments = ["-m", "bench.gpu.side_by_side", str(settings.device), settings.size, str(seconds)]
    with children(arguments, trials) as processes:
        ready_lines(processes)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        speeds = [float(line) for line in ready_lines(processes)]
    return {
        "": Measured(sum(speeds), "images/s"),
        ": slowest over fastest": Measured(min(speeds) / max(speeds)),
    }


def one_trial(settings: Settings, seconds: float) -> float:
    """Return the images per second of a trial in about these seconds, once the standard input has a line."""
    batch, steps = (16, 4) if settings.smoke else (128, 100)
    training = start(
        resnet(settings, 8 if settings.smoke else 14, batch), synthetic_arrays(batch * steps), settings.device
    )
    set_threads(1)
    train_epoch(training, Probes())
    print("ready", flush=True)
    sys.stdin.readline()
    began, epochs = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        train_epoch(training, Probes())
        epochs += 1
    return epochs * len(training.splits.train) / (time.perf_counter() - began)


if __name__ == "__main__":
    given = Settings(torch.device(sys.argv[1]), sys.argv[2], Path(), 0.0)
    print(one_trial(given, float(sys.argv[3])))
