"""How many trials really run at once: trials that sleep, through real Ray Tune, by the overlap in their store."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from bench import scale
from bench.scale import NoWorkRunner
from search_spaces.config import TrialConfig
from search_spaces.study_files import study_from
from tune_app.tuning import runner, tuner
from tune_app.tuning.cell import CellRunner
from tune_app.tuning.trainable import CellTrainable

CPUS = 2
NODES = 3
TRIAL_SECONDS = (0.1, 0.3, 1.0, 3.0)
SECONDS_EACH = 12.0
"""How long the trials of one measurement would take on all slots, so that workers have time to start."""


class SleepRunner(NoWorkRunner):
    """A trial that sleeps for as many hundredths of a second as its config has training images."""

    def step(self) -> dict[str, Any]:
        assert isinstance(self.job.config, TrialConfig)
        seconds = (self.job.config.data.train_size or 0) / 100
        time.sleep(seconds)
        report = super().step()
        report["trial"]["seconds"] = seconds
        return report


class SleepTrainable(CellTrainable):
    """A Trainable of `SleepRunner`."""

    def _make_runner(self, shared: Mapping[str, Any], settings: Any) -> CellRunner:
        return SleepRunner(shared, settings)


def running_at_once(trials: pd.DataFrame) -> dict[int, float]:
    """Return the seconds for which exactly k trials ran, by k, from the first trial's start to the last one's end."""
    starts = trials["finished_at"] - pd.to_timedelta(trials["seconds"], unit="s")
    events = sorted([(at, 1) for at in starts] + [(at, -1) for at in trials["finished_at"]])
    found: dict[int, float] = {}
    running, last = 0, events[0][0]
    for at, change in events:
        found[running] = found.get(running, 0.0) + (at - last).total_seconds()
        running, last = running + change, at
    return found


def measure() -> dict[str, float]:
    """Return the mean number of running trials over the number of slots, for each length, place and mode."""
    for module in (scale, sys.modules[__name__]):
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call] # workers need not find this folder
    setattr(tuner, "CellTrainable", SleepTrainable)  # noqa: B010
    figures: dict[str, float] = {}
    for place, slots in (("local", CPUS), ("cluster", CPUS * NODES)):
        for mode in ("ablation", "search"):
            for seconds in TRIAL_SECONDS:
                count = max(2 * slots, round(SECONDS_EACH * slots / seconds / 2) * 2)
                found = running_at_once(_trials(study(mode, seconds, count), place))
                busy = sum(k * t for k, t in found.items()) / sum(found.values())
                figures[f"concurrency.{place}.{mode}.{seconds:g}s"] = busy / slots
    return figures


def study(mode: str, seconds: float, count: int) -> dict[str, Any]:
    """Return a study of ``count`` trials that sleep for ``seconds`` each."""
    tree: dict[str, Any] = {
        "name": "sleep",
        "mode": mode,
        "baseline": {"data": {"source": "digits", "train_size": round(100 * seconds)}, "epochs": 1},
        "resources": {"gpu": 0.0},
    }
    if mode == "ablation":
        return tree | {"factors": {"model.norm": ["batch", "none"]}, "seeds": count // 2}
    search = {"searcher": "random", "trials": count, "asha": None}
    return tree | {"space": {"optimizer.lr": {"loguniform": [1e-4, 1]}}, "search": search, "seeds": 1}


def _trials(tree: dict[str, Any], place: str) -> pd.DataFrame:
    spec = study_from(tree)
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(prefix="rc", dir="/tmp") as scratch,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
    ):
        if place == "local":
            ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, _temp_dir=scratch)
            runner.run_study(spec, folder)
            ray.shutdown()
        else:
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": CPUS})
            for _ in range(NODES - 1):
                cluster.add_node(num_cpus=CPUS)
            ray.init(address=cluster.address, log_to_driver=False)
            runner.run_study(spec, folder, address=cluster.address, shared_folder=True)
            ray.shutdown()
            cluster.shutdown()  # type: ignore[no-untyped-call]
        return pd.read_parquet(Path(folder) / "sleep" / "trials")
