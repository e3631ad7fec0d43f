"""What a trial reported, as rows of the store."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from search_spaces.config import FunctionConfig
from search_spaces.metrics import COMMON_METRICS
from search_spaces.store_schema import EPOCHS, SCHEMA_VERSION, TRIALS, metric_columns
from search_spaces.study import StudySpec
from tune_app.tuning.jobs import Job
from tune_app.tuning.store.live import RunningTrial

_NOT_METRICS = frozenset(EPOCHS.names) - set(metric_columns("epochs", EPOCHS))
"""Columns that the epochs table of every task has."""
_MEASURED = frozenset(COMMON_METRICS) - {"seconds"}
"""Those of them that the built-in training measures: a training function may report metrics of these names."""
REPORTED_TABLES = ("quantiles", "correct")
"""The tables beside trials and epochs whose rows a trial reports."""
_OWN = frozenset(TRIALS.names) - set(metric_columns("trials", TRIALS))


@dataclass
class TrialRecord:
    """What one trial reported so far. ``choose_by`` is the metric that chooses its best epoch."""

    job: Job
    cpus: float
    choose_by: str = "val_accuracy"
    higher_is_better: bool = True
    node: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)
    quantiles: dict[tuple[int, str, float], dict[str, Any]] = field(default_factory=dict)
    correct: list[dict[str, Any]] = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)

    def add(self, report: Mapping[str, Any]) -> None:
        """Add a report; an epoch that is reported twice, after a restart, counts once."""
        self.node = report.get("hostname", self.node)
        self.epochs |= {row["epoch"]: row for row in report["epochs"]}
        self.quantiles |= {(row["epoch"], row["layer"], row["percentile"]): row for row in report["quantiles"]}
        self.correct = report.get("correct") or self.correct
        self.columns |= report["trial"]

    def curve(self, metric: str) -> dict[int, float]:
        """Return a metric by epoch, finite values alone."""
        values = {epoch: row.get(metric) for epoch, row in self.epochs.items()}
        return {epoch: value for epoch, value in values.items() if value is not None and math.isfinite(value)}

    @property
    def best_epoch(self) -> int | None:
        """The epoch that is best by ``choose_by``, the earliest of equals; None where none has a finite value."""
        finite = self.curve(self.choose_by)
        sign = 1 if self.higher_is_better else -1
        return max(finite, key=lambda epoch: (sign * finite[epoch], -epoch), default=None)

    @property
    def metrics(self) -> list[str]:
        """The metrics that it reported, in its epochs or at its end."""
        names = dict.fromkeys(name for row in self.epochs.values() for name in row)
        final = [name for name, value in self.columns.items() if isinstance(value, float) and name not in _OWN]
        taken = _NOT_METRICS - _MEASURED if isinstance(self.job.config, FunctionConfig) else _NOT_METRICS
        return [name for name in dict.fromkeys([*names, *final]) if name not in taken]


def trial_row(record: TrialRecord, status: str, spec: StudySpec) -> dict[str, Any]:
    """Return the row of the trials table."""
    job = record.job
    best = record.epochs.get(record.best_epoch or 0, {})
    return {
        "digest": job.digest,
        "fingerprint": job.fingerprint,
        "schema_version": SCHEMA_VERSION,
        "study": spec.name,
        "mode": spec.mode,
        "task": spec.task.run if spec.task else None,
        "code": job.config.code if job.config.references() else None,
        "arm": job.arm,
        "is_baseline": job.is_baseline,
        "levels": json.dumps(job.levels),
        "seed": job.config.seed,
        "config": job.config.model_dump_json(),
        "status": status,
        "epochs_planned": job.config.epochs,
        "epochs_trained": len(record.epochs),
        "best_epoch": record.best_epoch,
        "choose_by": record.choose_by,
        **{name: best[name] for name in record.metrics if name in best},
        "node": record.node,
        "cpus": record.cpus,
        "gpus": job.gpus,
        "started_at": record.started_at,
        "finished_at": datetime.now(UTC),
        "attempts": len(job.history) + 1,
        "history": json.dumps(job.history),
        **{column: value for column, value in record.columns.items() if column != "best_epoch"},
    }


def epoch_tables(record: TrialRecord) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the tables that have several for a trial, in order of epochs."""
    keys = {"digest": record.job.digest, "fingerprint": record.job.fingerprint}
    return {
        "epochs": [keys | record.epochs[epoch] for epoch in sorted(record.epochs)],
        "quantiles": [keys | record.quantiles[at] for at in sorted(record.quantiles)],
        "correct": [keys | row for row in record.correct],
    }


def running_trial(record: TrialRecord) -> RunningTrial:
    """Return what ``live.json`` shows of a trial that is running."""
    job, last = record.job, max(record.epochs, default=0)
    names = [name for name in record.metrics if name in record.epochs.get(last, {})]
    return RunningTrial(
        digest=job.digest,
        fingerprint=job.fingerprint,
        arm=job.arm,
        seed=job.config.seed,
        epoch=last,
        epochs=job.config.epochs,
        node=record.node,
        gpus=job.gpus,
        cpus=record.cpus,
        attempt=len(job.history) + 1,
        started_at=record.started_at.timestamp(),
        points={
            name: [(epoch, row[name]) for epoch, row in sorted(record.epochs.items()) if row.get(name) is not None]
            for name in names
        },
    )
