"""Part `memory`: too little GPU memory ends a trial and not the process, and shares of the memory are limits.

python -m bench.gpu.memory DEVICE SHARE     allocate until out of memory; print the bytes, hold them until a line comes
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout, suppress
from functools import partial
from typing import Any

import pyarrow.parquet as pq
import torch

from bench.gpu.children import children, ready_lines
from bench.gpu.results import Check, Measured, at_least, at_most
from bench.gpu.settings import Settings, small_config
from search_spaces.config.base import Config
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from
from tune_app.tasks.base import EpochReport, TrialSetup
from tune_app.tasks.image_classification import ImageClassification
from tune_app.training import limit_memory
from tune_app.tuning.cell import TrialSettings
from tune_app.tuning.executor import Batch, Outlet
from tune_app.tuning.inline import InlineExecutor
from tune_app.tuning.runner import run_study

QUARTER = 0.25
SMALL_WIDTH = 4
BLOCK = 64 << 20
TRAINING_IMAGES = 800
"""Images of the synthetic source that are trained on."""


def checks(settings: Settings) -> Iterator[Check]:
    """Yield the checks of memory."""
    what = "a study whose first attempt has too little memory: trials completed, attempts of the large trial"
    yield Check("out of memory", what, partial(_out_of_memory, settings))
    if settings.device.type != "cuda":
        return
    yield Check("context", "memory that a process takes beside torch's own allocations", partial(_context, settings))
    what = "share of the GPU's memory that each of two processes at a quarter could allocate, side by side"
    yield Check("two quarters, two processes", what, partial(_two_processes, settings))
    if importlib.util.find_spec("ray") is not None:
        yield Check("two quarters, Ray", what, partial(_two_ray_workers, settings))


class Starved(ImageClassification):
    """Image classification on the CPU where a wide network with less than half a GPU runs out of memory."""

    def train(self, config: Config, shared: Mapping[str, Any], setup: TrialSetup) -> Iterator[EpochReport]:
        """Raise what torch raises, or train."""
        if setup.gpus < 0.5 and config.get("model.width") > SMALL_WIDTH:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().train(config, shared, setup)


class SmallShare(InlineExecutor):
    """The inline executor with a small share of a GPU for the first attempt, also where there is no GPU."""

    def __init__(self, share: float) -> None:
        self._share = share

    def gpu_share(self, spec: Any) -> float:
        """Return the share of the first attempt."""
        return self._share

    def gpus(self) -> float:
        """Return 1."""
        return 1.0

    def run(self, batch: Batch, shared: Mapping[str, Any], settings: TrialSettings, mode: str, outlet: Outlet) -> None:
        """Run a batch; without a GPU its task behaves as if there were one."""
        if not torch.cuda.is_available():
            settings = dataclasses.replace(settings, task=Starved())
        super().run(batch, shared, settings, mode, outlet)


def _out_of_memory(settings: Settings) -> Mapping[str, Measured]:
    """Run a study of two arms inline: a tiny one, and one whose activations exceed a small share of the memory."""
    on_cuda = settings.device.type == "cuda"
    width, share = (_width_for(settings.device), 1 / 64) if on_cuda else (2 * SMALL_WIDTH, 0.25)
    values = {"epochs": 1, "batch_size": TRAINING_IMAGES if on_cuda else 32, "model.width": SMALL_WIDTH}
    baseline = small_config(settings, values).model_dump(mode="json")
    baseline["data"] |= {"source": "synthetic"}
    tree = {
        "name": "memory",
        "baseline": {key: baseline[key] for key in ("data", "model", "optimizer", "batch_size", "epochs", "precision")},
        "factors": {"model.width": [width]},
        "seeds": 1,
        "max_failures": 0,
    }
    spec = study_from(tree)
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(io.StringIO()):
            summary = run_study(spec, folder, executor=SmallShare(share))
        trials = pq.read_table(f"{folder}/memory/trials", columns=["is_baseline", "attempts"]).to_pylist()
    for cell, error in summary.failed:
        print(f"{cell}: {error}", flush=True)
    attempts = max(trial["attempts"] for trial in trials if not trial["is_baseline"])
    planned = len(make_plan(spec).cells)
    return {": completed": at_least(summary.counts["completed"], planned), ": attempts": at_least(attempts, 2)}


def _width_for(device: torch.device) -> int:
    """Return the width of a ResNet-8 that needs about a twelfth of a GPU's memory for one batch of all images.

    Its activations are those of about 14 layers of full size.
    """
    per_channel = TRAINING_IMAGES * 32 * 32 * 4 * 14
    return max(8, min(2048, torch.cuda.get_device_properties(device).total_memory // 12 // per_channel))


def _context(settings: Settings) -> Mapping[str, Measured]:
    before = torch.cuda.memory_reserved(settings.device)
    free, total = torch.cuda.mem_get_info(settings.device)
    return {"": Measured((total - free - before) / 2**20, "MiB")}


def _shares(taken: list[int], device: torch.device) -> Mapping[str, Measured]:
    total = torch.cuda.get_device_properties(device).total_memory
    return {
        ": largest": at_most(max(taken) / total, QUARTER),
        ": smallest": at_least(min(taken) / total, 0.9 * QUARTER),
    }


def _two_processes(settings: Settings) -> Mapping[str, Measured]:
    with children(["-m", "bench.gpu.memory", str(settings.device), str(QUARTER)], 2) as processes:
        taken = [int(line) for line in ready_lines(processes)]
    return _shares(taken, settings.device)


def _two_ray_workers(settings: Settings) -> Mapping[str, Measured]:
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    try:
        holders = [ray.remote(num_gpus=QUARTER)(Holder).remote(torch.device("cuda", 0), QUARTER) for _ in range(2)]
        taken = ray.get([holder.size.remote() for holder in holders])  # type: ignore[attr-defined]
    finally:
        ray.shutdown()
    return _shares(taken, settings.device)


class Holder:
    """Limits this process to a share of a GPU's memory, allocates until there is no more, and holds it."""

    def __init__(self, device: torch.device, share: float) -> None:
        """Allocate."""
        limit_memory(device, share)
        self._blocks: list[torch.Tensor] = []
        with suppress(torch.OutOfMemoryError):
            while True:
                self._blocks.append(torch.empty(BLOCK, dtype=torch.uint8, device=device))

    def size(self) -> int:
        """Return the bytes that are held."""
        return len(self._blocks) * BLOCK


if __name__ == "__main__":
    held = Holder(torch.device(sys.argv[1]), float(sys.argv[2]))
    print(held.size(), flush=True)
    sys.stdin.readline()
