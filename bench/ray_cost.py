"""Measure Ray's overhead per trial: a study of short trials against the same `fit` calls in one process."""

from __future__ import annotations

import io
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout

from search_spaces.plan import Cell, make_plan
from search_spaces.study import StudySpec
from search_spaces.study_files import study_from
from tune_app.data import ImageArrays, load_source
from tune_app.training import fit, set_threads
from tune_app.tuning.runner import run_study

TRIALS = 64


def tiny_study(trials: int) -> StudySpec:
    """Return a study of short trials: one epoch on 64 synthetic images."""
    return study_from(
        {
            "name": "ray-cost",
            "baseline": {
                "data": {"source": "synthetic", "train_size": 64, "validation_size": 64, "test_size": 64},
                "model": {"depth": 8},
                "batch_size": 64,
                "epochs": 1,
            },
            "factors": {"model.norm": ["none"]},
            "seeds": trials // 2,
            "resources": {"gpu": 0.0},
        }
    )


def measure_ray(trials: int = TRIALS, repeats: int = 3) -> dict[str, float]:
    """Return the medians over interleaved rounds.

    ``ray.extra_seconds_per_trial``: the time of `run_study` on an empty store, Ray's start included, minus the time of
    the same trainings one after the other in this process, per trial. A study trains one trial per core in parallel, so
    this number is optimistic; ``..._over_ideal`` compares with the in-process time divided by the number of cores.
    """
    spec = tiny_study(trials)
    cells = make_plan(spec).cells
    arrays = load_source(spec.baseline.data)
    set_threads(1)
    _train(cells[:4], arrays)
    alone, on_ray = [], []
    for _ in range(repeats):
        alone.append(_train(cells, arrays))
        on_ray.append(_study(spec))
    plain, ray = statistics.median(alone), statistics.median(on_ray)
    return {
        "ray.extra_seconds_per_trial": (ray - plain) / trials,
        "ray.extra_seconds_per_trial_over_ideal": (ray - plain / (os.cpu_count() or 1)) / trials,
        "ray.seconds_in_process": plain,
        "ray.seconds_on_ray": ray,
        "ray.trials": trials,
    }


def _train(cells: Sequence[Cell], arrays: ImageArrays) -> float:
    began = time.perf_counter()
    for cell in cells:
        for _ in fit(cell.config, arrays):
            pass
    return time.perf_counter() - began


def _study(spec: StudySpec) -> float:
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        run_study(spec, folder)
        return time.perf_counter() - began
