"""`make bench`: every measurement in one run, printed and written to bench.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from bench import concurrency, estimate, factorization, landscape, norms, ray_cost, service, start, store, training

MEASUREMENTS: dict[str, Callable[[], dict[str, float]]] = {
    "training": training.measure_training,
    "probes": training.measure_probes,
    "norms": norms.measure,
    "side_by_side": training.measure_side_by_side,
    "landscape": landscape.measure,
    "start": start.measure,
    "estimate": estimate.measure,
    "concurrency": concurrency.measure,
    "ray": ray_cost.measure_ray,
    "factorization": factorization.measure,
    "store": store.measure,
    "service": service.measure,
}


def main() -> None:
    """Measure what is asked for, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "only", nargs="*", metavar="MEASUREMENT", help=f"some of {', '.join(MEASUREMENTS)}; all if none"
    )
    parser.add_argument("--out", default="bench.json", help="file to write the figures to")
    arguments = parser.parse_args()
    unknown = set(arguments.only) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no measurement {sorted(unknown)}; there are {', '.join(MEASUREMENTS)}")
    figures: dict[str, float | str] = {
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count() or 0,
        "torch": torch.__version__,
    }
    for name in arguments.only or MEASUREMENTS:
        print(f"measuring {name} ...", flush=True)
        # In a separate process: threads and retained memory of one measurement do not affect the next.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found = process.submit(MEASUREMENTS[name]).result()
        figures |= found
        for key, value in found.items():
            print(f"  {key:45} {value:,.4g}", flush=True)
    Path(arguments.out).write_text(json.dumps(figures, indent=2) + "\n")
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
