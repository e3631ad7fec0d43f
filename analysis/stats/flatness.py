"""How flat the surroundings of a trained model are: a few numbers for each model, lower is flatter."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.stats.paired import Floats
from analysis.store.load import StudyResults
from search_spaces.metrics import LANDSCAPE_METRICS


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


def inner_half(x: Floats, y: Floats, loss: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the part of a surface within half of its range along each axis.

    Far from the trained weights the loss of deep networks grows by orders of magnitude, and the whole plane's roughness
    is that of its edges.
    """
    within_x, within_y = (np.abs(axis) <= np.max(np.abs(axis), initial=0) / 2 + 1e-12 for axis in (x, y))
    return x[within_x], y[within_y], loss[np.ix_(within_y, within_x)]


def common_surface(table: pd.DataFrame) -> str:
    """Return the name of the surface that most models of a table have, the first of equals; "" for no rows."""
    names = table[["digest", "surface"]].drop_duplicates()["surface"].tolist()
    return max(dict.fromkeys(names), key=names.count, default="")


def landscape_measures(results: StudyResults) -> pd.DataFrame:
    """Return the `LANDSCAPE_METRICS` of each trial, in the order of ``results.trials``; NaN where the store lacks them.

    Logarithms, because surfaces and eigenvalues differ by factors, often of a hundred. Of several surfaces of a model
    `common_surface` counts, for the eigenvalue that of the curvatures: ranges and images differ between surfaces.
    """
    rows, shared = [], common_surface(results.landscape)
    for digest in results.landscape.loc[results.landscape["surface"] == shared, "digest"].unique():
        x, y, loss = surface_data(results.landscape, digest, shared)
        centre = loss[np.ix_(y == 0, x == 0)]
        rows.append(
            {
                "digest": digest,
                "roughness": log10(laplacian_variance(x, y, loss)),
                "inner_roughness": log10(laplacian_variance(*inner_half(x, y, loss))),
                "centre_loss": float(centre[0, 0]) if centre.size else float("nan"),
            }
        )
    columns = ["digest", *LANDSCAPE_METRICS]
    surfaces = pd.DataFrame(rows, columns=columns[:-1]).set_index("digest")
    curvature = results.curvature[results.curvature["surface"] == common_surface(results.curvature)]
    sharpness = curvature.groupby("digest")["top_eigenvalue"].last().map(log10)
    measures = surfaces.reindex(results.trials["digest"]).assign(sharpness=sharpness.reindex(results.trials["digest"]))
    return measures.astype(float).set_axis(results.trials.index)


def log10(value: float) -> float:
    """Return the logarithm to base 10; NaN where the value is not above 0."""
    return float(np.log10(value)) if value > 0 else float("nan")
