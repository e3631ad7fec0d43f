"""What a trial reported, as rows of the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from search_spaces.store_schema import METRICS, SCHEMA_VERSION
from tune_app.tuning.jobs import Job


@dataclass
class TrialRecord:
    """What has been heard of one trial so far."""

    job: Job
    cpus: float
    node: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)
    quantiles: dict[tuple[int, str, float], dict[str, Any]] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)

    def hear(self, report: Mapping[str, Any]) -> None:
        """Take in a report; an epoch heard twice, after a restart, counts once."""
        self.node = report.get("hostname", self.node)
        self.epochs |= {row["epoch"]: row for row in report["epochs"]}
        self.quantiles |= {(row["epoch"], row["layer"], row["percentile"]): row for row in report["quantiles"]}
        self.columns |= report["trial"]

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best validation accuracy, the earliest of equals."""
        finite = [row for row in self.epochs.values() if row["val_accuracy"] == row["val_accuracy"]]
        best = max(finite, key=lambda row: (row["val_accuracy"], -row["epoch"]), default=None)
        return None if best is None else int(best["epoch"])


def trial_row(record: TrialRecord, status: str, study: str, mode: str) -> dict[str, Any]:
    """Return the row of the trials table."""
    job = record.job
    best = record.epochs.get(record.best_epoch or 0, {})
    return {
        "digest": job.digest,
        "fingerprint": job.fingerprint,
        "schema_version": SCHEMA_VERSION,
        "study": study,
        "mode": mode,
        "arm": job.arm,
        "is_baseline": job.is_baseline,
        "levels": json.dumps(job.levels),
        "seed": job.config.seed,
        "config": job.config.model_dump_json(),
        "status": status,
        "epochs_planned": job.config.epochs,
        "epochs_trained": len(record.epochs),
        "best_epoch": record.best_epoch,
        **{f"{split}_{m}": best.get(f"{split}_{m}") for split in ("train", "val") for m in METRICS},
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
    }


def last_line(text: str) -> str:
    """Return the last line of a traceback: what was raised."""
    return text.strip().rsplit("\n", 1)[-1]
