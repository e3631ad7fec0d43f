"""Stores written by the real writer, nothing trained: a row for each cell of a study, values from its config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.plan import Plan, make_plan
from search_spaces.study import StudySpec
from search_spaces.study_files import study_from, study_to_store
from search_spaces.tuned_plan import with_finals
from tune_app.tuning.jobs import Job, cell_job
from tune_app.tuning.store.rows import TrialRecord, epoch_tables, trial_row
from tune_app.tuning.store.writer import ResultsStore

FINGERPRINT = "f" * 16
Values = Callable[[Any], Mapping[str, float]]
"""From a trial config to the value of each metric at its last epoch."""


def accuracies(config: Any) -> dict[str, float]:
    """Return accuracies and losses that depend on the learning rate, the norm and the seed."""
    noise = np.random.default_rng(config.seed).normal(0, 0.002)
    score = 0.8 + 0.05 * (config.model.norm == "batch") + 0.02 * (config.batch_size == 32) + noise
    score -= abs(np.log10(config.optimizer.lr) + 1) * 0.1
    return {f"{split}_{name}": value for split in ("train", "val", "test") for name, value in (
        ("accuracy", score), ("loss", 1 - score), ("f1_micro", score), ("f1_macro", score)
    )}  # fmt: skip


def train(results: Path, tree: Mapping[str, Any], values: Values = accuracies, fingerprint: str = FINGERPRINT) -> Path:
    """Write what `run` would: the study as it is now, and a row for each cell that the store does not hold.

    A trial for which ``values`` gives nothing diverged.
    """
    spec = study_from(tree)
    store = ResultsStore(str(results), spec.name)
    store.prepare()
    store.write_study(study_to_store(spec), {})
    plan = make_plan(spec)
    for stage in (plan, with_finals(plan, _ended(spec, plan, values), _higher(spec))):
        finished = store.finished(("completed", "diverged", "failed"))
        for cell in stage.cells:
            if (cell.digest, fingerprint) not in finished:
                found = values(cell.config)
                status = "completed" if found else "diverged"
                write(store, spec, cell_job(cell, fingerprint, 0.0), found, status)
    return Path(store.folder.root)


def _ended(spec: StudySpec, plan: Plan, values: Values) -> dict[str, float | None]:
    """Return what each trial of the searches of a tuned ablation reaches; None where ``values`` gives nothing."""
    chosen = spec.choose_by_metric()
    return {trial.cell.digest: values(trial.cell.config).get(chosen) for trial in plan.tuning}


def _higher(spec: StudySpec) -> bool:
    return bool(spec.metric_record(spec.choose_by_metric()).higher_is_better)


def write(
    store: ResultsStore, spec: StudySpec, job: Job, final: Mapping[str, float], status: str = "completed"
) -> None:
    """Write one trial whose metrics move to their last values over the planned epochs."""
    chosen = spec.metric_record(spec.choose_by_metric())
    record = TrialRecord(job, 1.0, chosen.name, bool(chosen.higher_is_better))
    sign = 1 if chosen.higher_is_better else -1
    for epoch in range(1, job.config.epochs + 1):
        left = 0.1 * (job.config.epochs - epoch)
        row = {name: value - sign * left for name, value in final.items() if not name.startswith("test_")}
        record.epochs[epoch] = {"epoch": epoch, **row, "seconds": 1.0}
    test = {name: value for name, value in final.items() if name.startswith("test_")} if status == "completed" else {}
    row = trial_row(record, status, spec) | test | {"seconds": float(job.config.epochs)}
    store.write_trial(row, epoch_tables(record), tuple(spec.metric_records()))
