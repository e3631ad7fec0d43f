"""How many trials one driver can manage: trials that do no work, through real Ray Tune, into a real store.

``python -m bench.scale 300 1000 3000`` measures each number of trials in a separate process and writes the table in
``docs/scaling.md``. ``--drivers 4 2500`` runs so many drivers at once, each with a study of its own in one folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import ray

from search_spaces.store_schema import METRICS
from search_spaces.study_files import study_from
from tune_app.tuning import runner, tuner
from tune_app.tuning.cell import CellRunner
from tune_app.tuning.trainable import CellTrainable

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
ONE_DRIVER, DRIVERS = "bench.scale", "bench.scale, drivers"
HEADINGS = {
    "trials": "trials",
    "trials_per_second": "trials/s",
    "last_trials_per_second": "trials/s of the last third",
    "startup_seconds": "start, s",
    "driver_mib": "driver, peak MiB",
    "store_kib_per_trial": "store, KiB/trial",
    "load_seconds": "read, s",
    "report_seconds": "report, s",
}
DRIVER_HEADINGS = {
    "drivers": "drivers",
    "trials": "trials",
    "trials_per_second": "trials/s together",
    "driver_mib": "largest driver, MiB",
    "load_seconds": "read all, s",
    "computed_minutes": "100,000 trials, computed, min",
}


class NoWorkRunner(CellRunner):
    """A trial that ends immediately, with metrics of the right shape."""

    def step(self) -> dict[str, Any]:
        names = [f"{split}_{metric}" for split in ("train", "val") for metric in METRICS]
        names += ["learning_rate", "gradient_norm", "weight_norm", "dead_fraction", "images_per_second", "seconds"]
        seed = self.job.config.seed
        row = {"epoch": 1} | dict.fromkeys(names, seed % 97 / 97)
        test = {f"test_{metric}": (seed % 89) / 89 for metric in METRICS}
        trial = test | {"best_epoch": 1, "seconds": 0.0, "device": "cpu", "parameters": 1}
        return {
            "epoch": 1,
            "epochs": [row],
            "quantiles": [],
            "status": "completed",
            "trial": trial,
            "done": True,
            "objective": row["val_accuracy"],
        }


class NoWorkTrainable(CellTrainable):
    def _make_runner(self, shared: Mapping[str, Any], settings: Any) -> CellRunner:
        return NoWorkRunner(shared, settings)


def measure(trials: int, folder: Path, name: str = "scale") -> dict[str, float]:
    """Return the figures of a study of ``trials`` trials that do no work, on two CPUs, with its store in a folder."""
    tuner.CellTrainable = NoWorkTrainable  # type: ignore[attr-defined]
    spec = study_from(
        {
            "name": name,
            "baseline": {"data": {"source": "digits"}, "model": {"depth": 8}, "epochs": 1},
            "factors": {"model.norm": ["batch", "none"]},
            "seeds": trials // 2,
            "resources": {"gpu": 0.0},
        }
    )
    with open(os.devnull, "w") as nowhere, tempfile.TemporaryDirectory(prefix="rs", dir="/tmp") as scratch:  # noqa: PTH123
        began = time.monotonic()
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=scratch)
        startup = time.monotonic() - began
        with redirect_stdout(nowhere):
            summary = runner.run_study(spec, str(folder))
        ray.shutdown()
    assert summary.trained == trials, summary
    driver_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # before the store is read
    store = folder / name
    load_seconds, ends = _reading(store)
    return {
        "trials": trials,
        "trials_per_second": trials / summary.seconds,
        "last_trials_per_second": (trials // 3) / (ends[-1] - ends[-1 - trials // 3]),
        "startup_seconds": startup,
        "driver_mib": driver_mib,
        "store_kib_per_trial": _size(store) / trials,
        "load_seconds": load_seconds,
    }


def report_seconds(folder: Path, name: str = "scale") -> float:
    """Return how long `tune-app report` of a study takes, as a new process."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tune_app.cli", "report", name, "--results", str(folder)]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def _size(folder: Path) -> float:
    """Return the disk usage of the Parquet files in KiB, in whole blocks."""
    return sum(path.stat().st_blocks for path in folder.rglob("*.parquet")) / 2


def _reading(store: Path) -> tuple[float, list[float]]:
    """Return the seconds that reading a store takes, and when its trials ended, in order."""
    from analysis import load_study  # a driver does not import it

    began = time.monotonic()
    trials = load_study(str(store)).trials
    return time.monotonic() - began, sorted(one.timestamp() for one in trials["finished_at"])


def table(rows: Sequence[Mapping[str, float]], headings: Mapping[str, str]) -> str:
    """Return the figures as Markdown."""
    lines = ["| " + " | ".join(headings.values()) + " |", "|" + "---:|" * len(headings)]
    for row in rows:
        cells = [f"{row[name]:,.0f}" if row[name] >= 100 else f"{row[name]:.3g}" for name in headings]
        lines.append("| " + " | ".join(cells) + " |")
    load = os.getloadavg()[0]
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}, Ray {ray.__version__}"
    return "\n".join([*lines, "", f"Measured on {where}; load average at the end {load:.1f}."])


def _write(mark: str, text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    begin, end = (f"<!-- {mark}: {word} -->" for word in ("begin", "end"))
    before, after = page.split(begin)[0], page.split(end)[1]
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _start(trials: int, folder: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.scale", "--one", name, str(folder), str(trials)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _figures(process: subprocess.Popen[str]) -> dict[str, float]:
    output, _ = process.communicate()
    assert process.returncode == 0
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def one_driver(numbers: Sequence[int]) -> None:
    """Measure each number of trials in a process of its own, and write the table."""
    rows = []
    for trials in numbers:
        with tempfile.TemporaryDirectory() as name:
            figures = _figures(_start(trials, Path(name), "scale"))
            rows.append(figures | {"report_seconds": report_seconds(Path(name))})
        print(rows[-1], flush=True)
    _write(ONE_DRIVER, table(rows, HEADINGS))


def several_drivers(drivers: int, trials: int) -> None:
    """Run drivers at once, each with a study of its own in one folder, and write the table."""
    with tempfile.TemporaryDirectory() as name:
        began = time.monotonic()
        processes = [_start(trials, Path(name), f"scale-{number}") for number in range(drivers)]
        found = [_figures(process) for process in processes]
        took = time.monotonic() - began
        load_seconds = sum(_reading(Path(name) / f"scale-{number}")[0] for number in range(drivers))
    rate = drivers * trials / took
    row = {
        "drivers": drivers,
        "trials": drivers * trials,
        "trials_per_second": rate,
        "driver_mib": max(each["driver_mib"] for each in found),
        "load_seconds": load_seconds,
        "computed_minutes": 100_000 / rate / 60,
    }
    print(row, flush=True)
    _write(DRIVERS, table([row], DRIVER_HEADINGS))


def main() -> None:
    """Measure one driver with numbers of trials, or several drivers at once."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("trials", nargs="+", type=int, help="numbers of trials")
    parser.add_argument("--drivers", type=int, help="run so many drivers at once, each with that number of trials")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, folder = arguments.one
        print(json.dumps(measure(arguments.trials[0], Path(folder), name)), flush=True)
    elif arguments.drivers:
        several_drivers(arguments.drivers, arguments.trials[0])
    else:
        one_driver(arguments.trials)


if __name__ == "__main__":
    main()
