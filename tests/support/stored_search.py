"""The store of a search over built-in images, written by the real writer: nothing is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from search_spaces.study_files import study_from, study_to_store
from tune_app.data import load_source
from tune_app.tuning.jobs import Job
from tune_app.tuning.store.rows import TrialRecord, epoch_tables, trial_row
from tune_app.tuning.store.writer import ResultsStore


def write_search(results: Path, tree: Mapping[str, Any], points: Iterable[Mapping[str, Any]]) -> None:
    """Write the study and a completed trial of one epoch for each point, on the images that its config names."""
    spec = study_from(tree)
    store = ResultsStore(str(results), spec.name)
    store.prepare()
    store.write_study(study_to_store(spec), {})
    for values in points:
        config = spec.search_space().config(values).model_copy(update={"seed": spec.seeds[0]})
        record = TrialRecord(Job("stored", False, {}, config, load_source(config.data).fingerprint, 0.0), cpus=1.0)
        record.epochs[1] = {"epoch": 1, "val_accuracy": 0.5, "seconds": 1.0}
        store.write_trial(trial_row(record, "completed", spec) | {"seconds": 1.0}, epoch_tables(record))
