"""Trials that have not ended, as a report shows them. Their figures take no part in any verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import pandas as pd

from search_spaces.metrics import Metric, require_direction


class Partial(Protocol):
    """A trial without a row: what `tune_app.tuning.partial` finds in checkpoints and in ``live.json``."""

    digest: str
    arm: str
    seed: int
    planned: int
    source: str
    epochs: dict[int, dict[str, Any]]


def partial_rows(trials: Iterable[Partial], metric: Metric) -> list[dict[str, Any]]:
    """Return a row of text for each trial: arm, seed, epochs, last and best value of a metric of each epoch.

    ``sort``: the last and the best value as numbers, "" where there is none.
    """
    best_of = max if require_direction(metric) else min
    rows = []
    for trial in trials:
        values = _values(trial.epochs, metric.name)
        figures: dict[str, Any] = {"last": values[-1], "best": best_of(values)} if values else {}
        rows.append(
            {
                "arm": trial.arm,
                "seed": trial.seed,
                "epochs": f"{max(trial.epochs, default=0)} of {trial.planned}",
                **{name: metric.show(figures[name]) if figures else "–" for name in ("last", "best")},
                "sort": figures or {"last": "", "best": ""},
                "source": trial.source,
                "digest": trial.digest,
            }
        )
    return rows


def partial_table(trials: Iterable[Partial]) -> pd.DataFrame:
    """Return every known epoch of the trials, a row each: arm, seed, digest, and the columns of the epochs table."""
    rows = [
        {"arm": trial.arm, "seed": trial.seed, "digest": trial.digest, **trial.epochs[epoch]}
        for trial in trials
        for epoch in sorted(trial.epochs)
    ]
    return pd.DataFrame(rows)


def _values(epochs: Mapping[int, Mapping[str, Any]], name: str) -> list[float]:
    values = [epochs[epoch].get(name) for epoch in sorted(epochs)]
    return [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
