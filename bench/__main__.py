"""`make bench`: every measurement in one run, printed, kept in bench.json and written to docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import ray
import torch

from bench import concurrency, estimate, factorization, landscape, norms, ray_cost, service, start, store, training
from bench.page import PAGE, page

MEASUREMENTS: dict[str, tuple[Callable[[], dict[str, float]], str]] = {
    "training": (
        training.measure_training,
        "Images per second of `fit`, of the bare step on one batch (an upper bound) and of a textbook loop.",
    ),
    "probes": (training.measure_probes, "Seconds of an epoch with the default probes over those without."),
    "norms": (
        norms.measure,
        "Seconds of the hand-written norms over those of torch.nn's: forward and backward on activations of a ResNet.",
    ),
    "side_by_side": (
        training.measure_side_by_side,
        "Images per second of two trials at once, one thread each, over those of one trial on two threads.",
    ),
    "landscape": (landscape.measure, "A loss landscape on Ray against a plain loop in one process."),
    "start": (
        start.measure,
        "How long a user waits, in seconds, each as a new process. `floor`: a script that starts Ray and lets one "
        "actor import torch. The ideal of the quickstart: the floor, and its trainings split over all cores.",
    ),
    "estimate": (
        estimate.measure,
        "How far the estimates of `plan` (on an unknown machine) and `run` are from what a run takes.",
    ),
    "concurrency": (
        concurrency.measure,
        "Trials that sleep, on one node and on a cluster of three: the mean number at once over the number of slots.",
    ),
    "ray": (
        ray_cost.measure_ray,
        "What a further trial takes on Ray beyond its share of the trainings in one process; what a run takes once.",
    ),
    "factorization": (factorization.measure, "The time of ALS to reach the truncated SVD of a matrix, against ARPACK."),
    "store": (
        store.measure,
        "Time and memory to read a store of 10,000 trials of 100 epochs (1,000 arms of 10 seeds), and its report.",
    ),
    "service": (service.measure, "The service with 10,000 trials and 50 clients."),
}
"""Name -> the function that measures, and what its figures are."""
ELSEWHERE: dict[str, Callable[[dict[str, float], float], None]] = {"service": service.write_page}
"""Measurements whose figures another page has as tables -> the function that writes them there."""


def main() -> None:
    """Measure what is asked for, or everything; what was measured before is kept beside it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "only", nargs="*", metavar="MEASUREMENT", help=f"some of {', '.join(MEASUREMENTS)}; all if none"
    )
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="file that keeps the figures")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write; default: docs/benchmarks.md")
    arguments = parser.parse_args()
    unknown = set(arguments.only) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no measurement {sorted(unknown)}; there are {', '.join(MEASUREMENTS)}")
    results: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, Ray {ray.__version__}"
    for name in arguments.only or MEASUREMENTS:
        print(f"measuring {name} ...", flush=True)
        at, load = datetime.now(UTC).isoformat(), os.getloadavg()[0]
        # In a separate process: threads and retained memory of one measurement do not affect the next.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            figures = process.submit(MEASUREMENTS[name][0]).result()
        machine = f"{os.cpu_count()} cores, {versions}"
        results[name] = {"at": at, "load": load, "machine": machine, "figures": figures}
        for key, value in figures.items():
            print(f"  {key:45} {value:,.4g}", flush=True)
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")
        if name in ELSEWHERE:
            ELSEWHERE[name](figures, load)
        about = {each: said for each, (_, said) in MEASUREMENTS.items() if each not in ELSEWHERE}
        arguments.page.write_text(page(results, about), encoding="utf-8")
    print(f"written to {arguments.page} and {arguments.out}")


if __name__ == "__main__":
    main()
