"""How many trials one driver can manage: trials that do no work, through real Ray Tune, into a real store.

``python -m bench.scale 300 1000 3000`` measures each number of trials in a separate process and writes the table in
``docs/scaling.md``.
"""

from __future__ import annotations

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

from analysis import load_study
from search_spaces.store_schema import METRICS
from search_spaces.study_files import study_from
from tune_app.tuning import runner, tuner
from tune_app.tuning.cell import CellRunner
from tune_app.tuning.store.compact import compact
from tune_app.tuning.store.writer import ResultsStore
from tune_app.tuning.trainable import CellTrainable

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- bench.scale: begin -->", "<!-- bench.scale: end -->"
HEADINGS = {
    "trials": "trials",
    "trials_per_second": "trials/s",
    "startup_seconds": "start, s",
    "driver_mib": "driver, peak MiB",
    "store_kib_per_trial": "store, KiB/trial",
    "load_seconds": "read, s",
    "compact_seconds": "compact, s",
    "compact_kib_per_trial": "compacted, KiB/trial",
    "compact_load_seconds": "read compacted, s",
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


def measure(trials: int) -> dict[str, float]:
    """Return the figures of a study of ``trials`` trials that do no work, on two CPUs."""
    tuner.CellTrainable = NoWorkTrainable  # type: ignore[attr-defined]
    spec = study_from(
        {
            "name": "scale",
            "baseline": {"data": {"source": "digits"}, "model": {"depth": 8}, "epochs": 1},
            "factors": {"model.norm": ["batch", "none"]},
            "seeds": trials // 2,
            "resources": {"gpu": 0.0},
        }
    )
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="rs", dir="/tmp") as scratch:
            ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=scratch)
            startup = time.monotonic() - began
            with redirect_stdout(nowhere):
                summary = runner.run_study(spec, folder)
            ray.shutdown()
        assert summary.trained == trials, summary
        store = ResultsStore(folder, "scale")
        figures = {
            "trials": trials,
            "trials_per_second": trials / summary.seconds,
            "startup_seconds": startup,
            "driver_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "store_kib_per_trial": _size(Path(folder)) / trials,
            "load_seconds": _reading(store),
        }
        began = time.monotonic()
        compact(store)
        figures["compact_seconds"] = time.monotonic() - began
        return figures | {
            "compact_kib_per_trial": _size(Path(folder)) / trials,
            "compact_load_seconds": _reading(store),
        }


def _size(folder: Path) -> float:
    """Return the disk usage of the Parquet files in KiB, in whole blocks."""
    return sum(path.stat().st_blocks for path in folder.rglob("*.parquet")) / 2


def _reading(store: ResultsStore) -> float:
    began = time.monotonic()
    load_study(store.folder.url)
    return time.monotonic() - began


def table(rows: Sequence[dict[str, float]]) -> str:
    """Return the figures as Markdown."""
    lines = ["| " + " | ".join(HEADINGS.values()) + " |", "|" + "---:|" * len(HEADINGS)]
    for row in rows:
        cells = [f"{row[name]:,.0f}" if row[name] >= 100 else f"{row[name]:.3g}" for name in HEADINGS]
        lines.append("| " + " | ".join(cells) + " |")
    load = os.getloadavg()[0]
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}, Ray {ray.__version__}"
    return "\n".join([*lines, "", f"Measured on {where}; load average at the end {load:.1f}."])


def main() -> None:
    if sys.argv[1] == "--one":
        print(json.dumps(measure(int(sys.argv[2]))), flush=True)
        return
    rows = []
    for number in sys.argv[1:]:
        done = subprocess.run([sys.executable, "-m", "bench.scale", "--one", number], stdout=subprocess.PIPE, text=True)
        assert done.returncode == 0
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
