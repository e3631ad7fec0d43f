"""How rough a loss surface is: one number for each trained model, lower is flatter."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.stats.paired import Floats
from analysis.store.load import StudyResults
from search_spaces.metrics import ROUGHNESS

__all__ = ["ROUGHNESS", "laplacian_variance", "roughness", "surface_data"]


def surface_data(landscape: pd.DataFrame, digest: str, surface: str) -> tuple[Floats, Floats, Floats]:
    """Return x (M,), y (N,) and the loss (N, M) of one surface; NaN where a point is missing."""
    points = landscape[(landscape["digest"] == digest) & (landscape["surface"] == surface)]
    grid = points.pivot_table(index="y", columns="x", values="loss", aggfunc="last", dropna=False)
    return grid.columns.to_numpy(float), grid.index.to_numpy(float), grid.to_numpy(float)


def laplacian_variance(x: Floats, y: Floats, loss: Floats) -> float:
    """Return the variance of the discrete Laplacian over the inner points of an even grid; lower is flatter.

    ``x`` (M,), ``y`` (N,), ``loss`` (N, M). The five-point Laplacian is divided by the squared spacing of each axis,
    so that a finer grid over the same plane gives the same number. Points beside a missing or infinite loss are left
    out; NaN where fewer than two are left.
    """
    if len(x) < 3 or len(y) < 3:
        return float("nan")
    finite = np.where(np.isfinite(loss), loss, np.nan)
    inner = 2 * finite[1:-1, 1:-1]
    along_x = (finite[1:-1, 2:] - inner + finite[1:-1, :-2]) / (x[1] - x[0]) ** 2
    along_y = (finite[2:, 1:-1] - inner + finite[:-2, 1:-1]) / (y[1] - y[0]) ** 2
    laplacian = (along_x + along_y)[np.isfinite(along_x + along_y)]
    return float(np.var(laplacian)) if len(laplacian) > 1 else float("nan")


def roughness(results: StudyResults) -> pd.Series:
    """Return for each trial (in the order of ``results.trials``) log10 of the Laplacian's variance, NaN without one.

    The logarithm because surfaces differ by factors, often of a hundred; the mean over a trial's surfaces.
    """
    keys = results.landscape[["digest", "surface"]].drop_duplicates().itertuples(index=False, name=None)
    found: dict[str, list[float]] = {}
    for digest, surface in keys:
        variance = laplacian_variance(*surface_data(results.landscape, digest, surface))
        found.setdefault(digest, []).append(float(np.log10(variance)) if variance > 0 else float("nan"))
    means = {digest: float(np.mean(values)) for digest, values in found.items()}
    return results.trials["digest"].map(means).astype(float).rename(ROUGHNESS)
