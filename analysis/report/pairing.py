"""What a report says about the pairing of the arms by seed and by test image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots._words import replicate_count
from analysis.store._rows import rows_of

FEWEST = 6
"""Fewest common seeds to estimate the gain of pairing; without any, |r| > 0.8 in 41 % with 3 seeds, 6 % with 6."""


def correlation_sentence(table: pd.DataFrame, replicate: str = "seed") -> str:
    """Return what the arms' correlations with the reference over seeds mean; "" where none is known.

    ``replicate``: "seed", or "repeat" of a tuned ablation. Arms with fewer than `FEWEST` common seeds are left out
    where others have more.

    With equal variances the paired standard error is sqrt(1 - r) times the unpaired one.
    """
    known = table[table["correlation"].notna()] if len(table) else table
    if not len(known):
        return ""
    enough = known[known["n"] >= FEWEST]
    used = enough if len(enough) else known
    values = used["correlation"].to_numpy(float)
    spread = f" on average ({values.min():.2f} to {values.max():.2f})" if len(values) > 1 else ""
    count = replicate_count(used["n"], replicate)
    found = f"Correlation with the reference arm over {count}: {values.mean():.2f}{spread}".replace("-", "−")
    if not len(enough):
        return f"{found}; fewer than {FEWEST} {replicate}s are too few to tell what pairing gains."
    return f"{found}, so by this estimate pairing by {replicate} {_gain(float(values.mean()), replicate)}."


def _gain(correlation: float, replicate: str) -> str:
    share = np.sqrt(max(0.0, 1 - correlation))
    if share >= 0.995:
        return "gains no precision here"
    return f"makes the standard error of a difference {share:.2f} times that of unpaired {replicate}s"


def image_table(table: pd.DataFrame, replicate: str = "seed") -> dict[str, Any] | None:
    """Return for each arm what single test images say, as printed; None where that is not known."""
    known = table[table["test_images"].notna()] if len(table) else table
    if not len(known):
        return None
    images = int(known["test_images"].iloc[0])
    rows = [
        [
            row.arm,
            f"±{100 * row.test_error:.2f}",
            f"{100 * row.agreement:.1f} %",
            f"{int(row.mcnemar_different)} of {int(row.mcnemar_pairs)}",
        ]
        for row in rows_of(known)
    ]
    own = float(known["own_agreement"].iloc[0])
    seeds = f" Two {replicate}s of the reference arm agree on {100 * own:.1f} %." if np.isfinite(own) else ""
    return {
        "caption": f"Single test images ({images:,}). Sampling error of the test set: 95 %, for the difference from "
        "the reference arm if other images had been drawn; the interval above does not contain it. Agreement: images "
        f"that both arms classify correctly or both do not, at one {replicate}.{seeds} McNemar: pairs of models, one "
        f"pair a {replicate}, that differ at 5 % by the exact test.",
        "heads": ("Arm", "Sampling error (points)", "Agreement", "McNemar"),
        "rows": rows,
    }
