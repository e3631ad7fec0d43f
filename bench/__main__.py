"""`make bench`: every measurement in one run, printed and written to bench.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import factorization
import landscape
import norms
import ray_cost
import store
import training

MEASUREMENTS: dict[str, Callable[[], dict[str, float]]] = {
    "training": training.measure_training,
    "probes": training.measure_probes,
    "norms": norms.measure,
    "side_by_side": training.measure_side_by_side,
    "landscape": landscape.measure,
    "ray": ray_cost.measure_ray,
    "factorization": factorization.measure,
    "store": store.measure,
}


def main() -> None:
    """Measure what is asked for, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "only", nargs="*", metavar="MEASUREMENT", help=f"some of {', '.join(MEASUREMENTS)}; all if none"
    )
    parser.add_argument("--out", default="bench.json", help="where the figures go")
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
        # In a process of its own: one measurement's threads and kept memory are not the next one's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found = process.submit(MEASUREMENTS[name]).result()
        figures |= found
        for key, value in found.items():
            print(f"  {key:45} {value:,.4g}", flush=True)
    Path(arguments.out).write_text(json.dumps(figures, indent=2) + "\n")
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
