"""What a report says about the pairing of the arms by seed and by test image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.store._rows import rows_of


def correlation_sentence(table: pd.DataFrame, replicate: str = "seed") -> str:
    """Return what the arms' correlations with the reference over seeds mean; "" where none is known.

    ``replicate``: "seed", or "repeat" of a tuned ablation.

    With equal variances the paired standard error is sqrt(1 - r) times the unpaired one.
    """
    known = table["correlation"].dropna().to_numpy(float) if len(table) else np.array([])
    if not len(known):
        return ""
    spread = f" ({known.min():.2f} to {known.max():.2f})".replace("-", "−") if len(known) > 1 else ""
    mean = float(known.mean())
    share = np.sqrt(max(0.0, 1 - mean))
    gain = (
        f"so pairing by {replicate} makes the standard error of a difference {share:.2f} times that of unpaired "
        f"{replicate}s"
        if share < 0.995
        else f"so pairing by {replicate} gains no precision here"
    )
    average = " on average" if len(known) > 1 else ""
    found = f"Correlation with the reference arm over {replicate}s: {mean:.2f}{average}".replace("-", "−")
    return f"{found}{spread}, {gain}."


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
