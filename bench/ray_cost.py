"""Measure Ray's overhead, once a run and for each trial: short trials on Ray against the same `fit` in one process."""

from __future__ import annotations

import io
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout

from search_spaces.config.trial import TrialConfig
from search_spaces.plan import Cell, make_plan
from search_spaces.study import StudySpec
from search_spaces.study_files import study_from
from tune_app.data import ImageArrays, load_source
from tune_app.training import fit, set_threads
from tune_app.tuning.runner import run_study

FEW, MANY = 64, 320
"""Trials of two studies: the difference between their times is that of 256 trials, without Ray's start."""


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


def measure_ray(few: int = FEW, many: int = MANY, repeats: int = 3) -> dict[str, float]:
    """Return the medians over interleaved rounds, in seconds.

    ``ray.marginal_seconds_per_trial``: what each further trial of a running study takes beyond its share of the same
    trainings split evenly over the cores. ``ray.fixed_seconds``: what a study takes beyond that for all its trials, so
    mostly Ray's start and end.
    """
    spec, more = tiny_study(few), tiny_study(many)
    cells = make_plan(spec).cells
    assert isinstance(spec.baseline, TrialConfig)
    arrays = load_source(spec.baseline.data)
    set_threads(1)
    _train(cells[:4], arrays)
    rounds = [(_train(cells, arrays) / few, _study(spec), _study(more)) for _ in range(repeats)]
    each, short, long = map(statistics.median, zip(*rounds, strict=True))
    share = each / (os.cpu_count() or 1)
    marginal = (long - short) / (many - few) - share
    return {
        "ray.marginal_seconds_per_trial": marginal,
        "ray.fixed_seconds": short - few * (share + marginal),
        "ray.training_seconds_per_trial": each,
        f"ray.seconds_of_{few}_trials": short,
        f"ray.seconds_of_{many}_trials": long,
    }


def _train(cells: Sequence[Cell], arrays: ImageArrays) -> float:
    began = time.perf_counter()
    for cell in cells:
        assert isinstance(cell.config, TrialConfig)
        for _ in fit(cell.config, arrays):
            pass
    return time.perf_counter() - began


def _study(spec: StudySpec) -> float:
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        run_study(spec, folder)
        return time.perf_counter() - began
