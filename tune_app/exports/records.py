"""The trials of a store as trackers want them: parameters, tags, final metrics, metrics by epoch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from analysis import StudyResults
from search_spaces.metrics import IMAGE_METRICS
from search_spaces.store_schema import key

_TAGS = ("digest", "fingerprint", "status", "node", "device_name", "precision", "code", "task")


@dataclass(frozen=True)
class Trial:
    """One trial. ``epochs``: (epoch, metric -> value) in order; values are finite, in stored units. Times: seconds."""

    key: str
    study: str
    arm: str
    seed: int
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    epochs: tuple[tuple[int, Mapping[str, float]], ...]
    started_at: float
    finished_at: float

    @property
    def name(self) -> str:
        """The name to show: "norm=group, seed 3"."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def content(self) -> str:
        """A hash of all that is exported: the same for the same trial."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


def trials_of(results: StudyResults) -> Iterator[Trial]:
    """Yield the trials of a study in the order of the store."""
    by_trial = (
        {
            pair: rows.sort_values("epoch").to_dict("records")
            for pair, rows in results.epochs.groupby(["digest", "fingerprint"], sort=False)
        }
        if len(results.epochs)
        else {}
    )
    known = results.spec.metric_records() if results.spec is not None else IMAGE_METRICS
    own = [name for name in results.epochs.columns if results.epochs[name].dtype == float]
    names = list(dict.fromkeys([*known, *own, "seconds", "best_epoch"]))
    for row in results.trials.drop_duplicates(["digest", "fingerprint"]).to_dict("records"):
        epochs = by_trial.get((row["digest"], row["fingerprint"]), [])
        yield Trial(
            key=key(row["digest"], row["fingerprint"]),
            study=results.name,
            arm=str(row["arm"]),
            seed=int(row["seed"]),
            status=str(row["status"]),
            params=dict(_leaves(json.loads(row["config"]))),
            tags={name: str(row[name]) for name in _TAGS if isinstance(row.get(name), str)},
            metrics=_finite({name: row.get(name) for name in names}),
            epochs=tuple((int(epoch["epoch"]), _finite(_measured(epoch))) for epoch in epochs),
            started_at=_seconds(row.get("started_at")),
            finished_at=_seconds(row.get("finished_at")),
        )


def _measured(epoch: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in epoch.items() if isinstance(value, float)}


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _seconds(moment: Any) -> float:
    return 0.0 if moment is None or pd.isna(moment) else float(moment.timestamp())


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)
