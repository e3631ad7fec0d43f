"""Two sources of noise, separated: another seed, and another test set.

Let a be a run's accuracy on endlessly many images, with mean m and variance s^2 over runs, and p the share of runs
that get an image right, which differs from image to image. On one fixed test set of N images, runs differ by

    seed variance (what the seeds show) = s^2 (1 - 1/N) + mean of p (1 - p) / N                         (1)

of which the second part is not that runs differ in how good they are, only in which images they get right. A run on a
*new* test set has a binomial error in addition to its own random variation:

    Var(accuracy) = s^2 + mean of a (1 - a) / N = seed variance + Var(p) / N                            (2)

The test-set part is common to all runs on those images: more seeds do not lessen it. In a difference of two arms on
the same images much of it cancels, which is why effects are paired. A confusion matrix gives N and a but not p, so the
parts are given as bounds: mean of p (1 - p) is between 0 and m (1 - m), and so is Var(p).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError

ACCURACY = "test_accuracy"
"""The metric that this is about: a mean over test images of right (1) or wrong (0)."""


def noise_table(results: StudyResults) -> pd.DataFrame:
    """Return the noise of test accuracy, a row for each arm, in fractions.

    Columns: arm, n (completed seeds), test_images, mean, seed_sd (over seeds, same images), test_sd (sqrt(m (1 - m) /
    N): one run on new images), run_sd_low (the least s that agrees with (1); its greatest is seed_sd), new_images_sd
    (the most that (2) allows: a new seed and new images), mean_sd (the same for the mean of the n seeds). NaN where it
    is not known. Raises StudyError for a study without test accuracies.
    """
    if ACCURACY not in results.trials.columns:
        raise StudyError(f"study {results.name!r} has no {ACCURACY}, and this table is about nothing else")
    done = results.trials[(results.trials["status"] == "completed") & results.trials[ACCURACY].notna()]
    rows = []
    for arm in results.arms:
        cells = done[done["arm"] == arm]
        images = {int(np.sum(row.test_confusion)) for row in rows_of(cells) if row.test_confusion is not None}
        accuracy = cells[ACCURACY].to_numpy(float)
        rows.append({"arm": arm, **noise_of(accuracy, images.pop() if len(images) == 1 else None)})
    return pd.DataFrame(rows)


def noise_of(accuracy: np.ndarray, test_images: int | None) -> dict[str, float]:
    """Return one arm's row of `noise_table`; ``test_images`` is None where it is not known or not the same for all."""
    n = len(accuracy)
    mean = float(np.mean(accuracy)) if n else float("nan")
    seed_variance = float(np.var(accuracy, ddof=1)) if n > 1 else float("nan")
    test_variance = mean * (1 - mean) / test_images if test_images else float("nan")
    return {
        "n": n,
        "test_images": float(test_images or "nan"),
        "mean": mean,
        "seed_sd": float(np.sqrt(seed_variance)),
        "test_sd": float(np.sqrt(test_variance)),
        "run_sd_low": float(np.sqrt(np.maximum(seed_variance - test_variance, 0))),
        "new_images_sd": float(np.sqrt(seed_variance + test_variance)),
        "mean_sd": float(np.sqrt(seed_variance / n + test_variance)) if n else float("nan"),
    }
