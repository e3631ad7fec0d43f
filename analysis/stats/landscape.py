"""How flat each trained model's surroundings are, from the surfaces and curvatures that the store holds."""

from __future__ import annotations

import pandas as pd

from analysis.stats.flatness import inner_half, laplacian_variance, surface_data
from analysis.store.load import StudyResults

COLUMNS = (
    *("arm", "seed", "digest", "surface", "split", "points"),
    *("centre_loss", "laplacian_variance", "inner_variance", "top_eigenvalue", "residual"),
)


def flatness(results: StudyResults) -> pd.DataFrame:
    """Return one row for each trained model and surface, in the order of ``results.trials``; lower is flatter.

    ``laplacian_variance`` is that of `flatness.laplacian_variance`: over the interior points, the loss in nats,
    lengths in filter norms; ``inner_variance`` is the same within half of the range. ``centre_loss`` is the loss at the
    trained weights. ``top_eigenvalue`` of the Hessian there and the ``residual`` of its computation come from the
    curvature table. NaN where the store lacks one.
    """
    rows = []
    for (_, _, digest, surface), points in results.landscape.groupby(["arm", "seed", "digest", "surface"], sort=False):
        x, y, loss = surface_data(points, str(digest), str(surface))
        centre = points.loc[(points["x"] == 0) & (points["y"] == 0), "loss"]
        rows.append(
            points.iloc[0][["arm", "seed", "digest", "surface", "split"]].to_dict()
            | {"points": len(points), "laplacian_variance": laplacian_variance(x, y, loss)}
            | {"inner_variance": laplacian_variance(*inner_half(x, y, loss))}
            | {"centre_loss": float(centre.iloc[-1]) if len(centre) else float("nan")}
        )
    found = pd.DataFrame(rows, columns=list(COLUMNS[:-2]))
    bends = results.curvature[["digest", "surface", "top_eigenvalue", "residual"]]
    return found.merge(bends, on=["digest", "surface"], how="left")[list(COLUMNS)]
