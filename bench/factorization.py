"""Measure the time of ALS to reach the truncated SVD of a low-rank matrix plus noise, against ARPACK."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

import numpy as np
from scipy.sparse.linalg import svds

from analysis.factorization.als import als

Result = TypeVar("Result")
ROWS, COLUMNS, RANK = 2000, 1000, 20
NOISE = 0.25
"""Largest singular value of the noise over the smallest planted one, about."""
RELATIVE_GAP = 1e-8
REPEATS = 5


def planted(seed: int = 0) -> np.ndarray:
    """Return a 2000 x 1000 matrix of rank 20, singular values 10 to 1, plus white noise."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((ROWS, RANK)))[0]
    right = np.linalg.qr(rng.standard_normal((COLUMNS, RANK)))[0]
    noise = rng.standard_normal((ROWS, COLUMNS)) * NOISE / (np.sqrt(ROWS) + np.sqrt(COLUMNS))
    matrix: np.ndarray = (left * np.geomspace(10, 1, RANK)) @ right.T + noise
    return matrix


def measure() -> dict[str, float]:
    """Return medians of five alternating runs, seconds, their quotient, and the largest relative gap ALS left."""
    X = planted()
    optimum = 0.5 * float(np.sum(np.linalg.svd(X, compute_uv=False)[RANK:] ** 2))
    svds_seconds, als_seconds, gaps = [], [], []
    svds(X, k=RANK, random_state=0)
    for repeat in range(REPEATS):
        svds_seconds.append(_seconds(lambda: svds(X, k=RANK, random_state=0))[0])
        seconds, run = _seconds(lambda: als(X, RANK, seed=repeat, tolerance=RELATIVE_GAP))  # noqa: B023
        als_seconds.append(seconds)
        gaps.append(run.objectives[-1] / optimum - 1)
    return {
        "factorization.als_seconds": median(als_seconds),
        "factorization.svds_seconds": median(svds_seconds),
        "factorization.als_over_svds": median(als_seconds) / median(svds_seconds),
        "factorization.als_relative_gap": float(max(gaps)),
    }


def _seconds(call: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
