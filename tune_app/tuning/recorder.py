"""The recorder: hears every trial and writes the store, one trial at a time, as each ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from search_spaces.study import StudySpec
from tune_app.training import BEST, LAST
from tune_app.tuning.jobs import Job
from tune_app.tuning.rows import TrialRecord, epoch_tables, trial_row
from tune_app.tuning.store import ResultsStore
from tune_app.tuning.trainable import OUT_OF_MEMORY


class Recorder(tune.Callback):
    """Ray's callback that writes the store, collects the jobs to be tried again, and says when to stop.

    ``again`` holds jobs whose attempt failed and that have attempts left; they run in a later pass.
    """

    def __init__(self, spec: StudySpec, store: ResultsStore, max_gpus: float) -> None:
        self._spec, self._store, self._max_gpus = spec, store, max_gpus
        self.records: dict[str, TrialRecord] = {}
        self.counts: Counter[str] = Counter()
        self.again: list[Job] = []
        self.write_error: OSError | None = None
        self.failed_jobs: list[tuple[Job, str]] = []
        self.on_change: Callable[[TrialRecord, str], None] = lambda record, status: None

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Open the record of a trial; a restart after a lost process keeps the one there is."""
        self.on_change(self._record(trial), "started")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note that a trial's process or node was lost; Ray starts it again and it goes on from its checkpoint."""
        self._record(trial).restarts.append("process or node lost; went on from the last checkpoint")

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Take in the rows of a report, which Ray need not keep."""
        record = self.records[trial.trial_id]
        record.hear(result)
        for heavy in ("epochs", "quantiles"):
            result.pop(heavy)
        self.on_change(record, "running")

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Write a trial that ended by itself or was stopped by the scheduler, or note it for another attempt."""
        record = self.records.pop(trial.trial_id)
        result = trial.last_result
        status = result["status"]
        if status == OUT_OF_MEMORY:
            self._out_of_memory(record)
        elif status == "failed":
            self._failed(record, record.columns["error"], may_try_again=not result["final"])
        else:
            self._write(record, "pruned" if status == "running" else status)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Write a trial that Ray gave up: its process was lost more often than it is started again."""
        record = self._record(trial)
        del self.records[trial.trial_id]
        error = trial.get_error()
        record.columns["error"] = f"{type(error).__name__}: {error}"
        self._write(record, "failed")

    def _record(self, trial: Trial) -> TrialRecord:
        """Return the record of a trial, opened where there is none: a process may be lost before the trial starts."""
        if trial.trial_id not in self.records:
            self.records[trial.trial_id] = TrialRecord(Job.from_json(trial.config["job"]), self._spec.resources.cpu)
        return self.records[trial.trial_id]

    @property
    def should_stop(self) -> bool:
        """Whether the study's limit of failed trials is reached, or the store cannot be written any more."""
        if self.write_error is not None:
            return True
        limit = 1 if self._spec.fail_fast else self._spec.max_failed_trials
        return limit is not None and self.counts["failed"] >= limit

    def _out_of_memory(self, record: TrialRecord) -> None:
        job = record.job
        share = min(1.0, 2 * job.gpus)
        if 0 < job.gpus < min(1.0, self._max_gpus):
            self.again.append(job.again(f"out of memory with {job.gpus:g} of a GPU; tried again with {share:g}", share))
            self.on_change(record, "again")
        else:
            where = f"with {job.gpus:g} of a GPU" if job.gpus else "on the CPU"
            record.columns["error"] = f"out of memory {where}; try a smaller batch_size or model.width"
            self._write(record, "failed")

    def _failed(self, record: TrialRecord, error: str, may_try_again: bool) -> None:
        attempts = sum(entry.startswith("error:") for entry in record.job.history)
        if may_try_again and attempts < self._spec.max_failures:
            last_line = error.strip().rsplit("\n", 1)[-1]
            self.again.append(record.job.again(f"error: {last_line}"))
            self.on_change(record, "again")
        else:
            self._write(record, "failed")

    def _write(self, record: TrialRecord, status: str) -> None:
        row = trial_row(record, status, self._spec.name, self._spec.mode)
        try:
            self._store.write_trial(row, epoch_tables(record))
        except OSError as error:  # told when Ray has stopped: it would take an error here for the trial's
            self.write_error = error
            return
        self.counts[status] += 1
        if status == "failed":
            self.failed_jobs.append((record.job, str(row.get("error"))))
        self._thin(record.job)
        self.on_change(record, status)

    def _thin(self, job: Job) -> None:
        """Remove the checkpoints that the study does not keep, now that the trial's row is in the store."""
        folder = self._store.checkpoints(job.digest, job.fingerprint)
        for name, kind in ((BEST, "best"), (LAST, "last")):
            if kind not in self._spec.keep:
                folder.remove(name)
