"""What the seeds of each arm of a study can detect, and how many would detect a given difference, as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.stats.paired import compare_differences
from analysis.stats.pairs import metric_table
from analysis.stats.power import sd_interval, seeds_needed, smallest_difference, smallest_difference_interval
from analysis.store.load import StudyResults

_FOUND = [
    *("sd_low", "sd_high", "smallest_difference", "smallest_low", "smallest_high"),
    *("seeds_needed", "seeds_needed_high"),
]


def seed_table(
    results: StudyResults, metric: str | None = None, reference: str | None = None, target: float | None = None
) -> pd.DataFrame:
    """Return for each arm what its seeds can detect, and how many would detect ``target`` (the study's rope if None).

    Columns: arm, n, sd (of the paired differences), sd_low, sd_high (95 % by chi-squared: from five seeds the spread is
    known only within a factor of three or so), smallest_difference (at 80 % power, 5 % error over all arms by
    Bonferroni), smallest_low, smallest_high (its 95 % interval), seeds_needed, seeds_needed_high (were the spread
    sd_high). NaN where there are fewer than 2 pairs or no spread.
    """
    values = metric_table(results, metric)
    chosen = reference or results.reference_arm
    target = target if target is not None else results.rope(metric)
    others = values.drop(index=chosen)
    found = compare_differences(others.to_numpy() - values.loc[chosen].to_numpy())
    rows = []
    for arm, n, sd in zip(others.index, found.n.tolist(), found.sd.tolist(), strict=True):
        row = dict.fromkeys(_FOUND, np.nan)
        if n >= 2 and sd > 0:
            row["sd_low"], row["sd_high"] = sd_interval(sd, n)
            row["smallest_difference"] = smallest_difference(n, sd, comparisons=len(others))
            ends = smallest_difference_interval(n, sd, comparisons=len(others))
            row["smallest_low"], row["smallest_high"] = ends
        if n >= 2 and sd > 0 and target:
            row["seeds_needed"] = seeds_needed(target, sd, comparisons=len(others))
            row["seeds_needed_high"] = seeds_needed(target, row["sd_high"], comparisons=len(others))
        rows.append({"arm": arm, "n": n, "sd": sd, **row})
    return pd.DataFrame(rows, columns=["arm", "n", "sd", *_FOUND])
