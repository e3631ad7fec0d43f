"""The recorder: takes in what every trial reports and writes the store, one trial at a time, as each ends.

It has the methods of Ray Tune's callbacks, but does not need Ray: every executor calls them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search_spaces.budget import Usage, total
from search_spaces.errors import headline
from search_spaces.metrics import require_direction
from search_spaces.study import StudySpec
from tune_app.storage import BEST, LAST
from tune_app.tuning.cell import OUT_OF_MEMORY, UNWRITABLE
from tune_app.tuning.jobs import Job
from tune_app.tuning.resources import out_of_memory
from tune_app.tuning.store.rows import REPORTED_TABLES, TrialRecord, epoch_tables, trial_row
from tune_app.tuning.store.writer import ResultsStore


class Recorder:
    """Writes the store, collects the jobs to be tried again, and says when to stop.

    ``again`` holds jobs whose attempt failed and that have attempts left; they run in a later pass. ``results`` has the
    metrics of each trial that ended in this run, by digest; none where it did not complete. ``budget_spent`` says in
    words which limits of the study's budget are spent; "" where none is.
    """

    def __init__(self, spec: StudySpec, store: ResultsStore, gpus: Callable[[], float]) -> None:
        """``gpus`` returns how many GPUs there are: a cluster may start its machines during the run."""
        self._spec, self._store, self._gpus = spec, store, gpus
        self.records: dict[str, TrialRecord] = {}
        self.counts: Counter[str] = Counter()
        self.results: dict[str, Mapping[str, float | None]] = {}
        self.again: list[Job] = []
        self.write_error: Exception | str | None = None
        self.interrupted = False
        self.failed_jobs: list[tuple[Job, str]] = []
        self._reasons: dict[str, str] = {}
        self.budget_spent = ""
        self._used = Usage()
        self.on_change: Callable[[TrialRecord, str], None] = lambda record, status: None

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Open the record of a trial; a restart after a lost process keeps the one there is."""
        self.on_change(self._record(trial), "started")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note why Ray starts a trial again; it goes on from its checkpoint.

        Ray takes an error in a callback or searcher for the trial's, too: that is our own mistake, and ends the run.
        """
        error = _take_error(trial)
        if error is None:
            raise RuntimeError(f"the driver failed on trial {trial.trial_id}: {_error_of(trial)}")
        record = self._record(trial)
        record.columns.pop("error", None)
        reason = self._reasons.pop(trial.trial_id, None)
        what = f"error: {headline(reason)}" if reason is not None else _what_happened(error)
        record.job = record.job.again(f"{what}; went on from the last checkpoint")

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Take in the rows of a report, which Ray need not keep."""
        record = self.records[trial.trial_id]
        record.add(result)
        self.use(Usage())
        for heavy in ("epochs", *REPORTED_TABLES):
            result.pop(heavy, None)
        if result.get("device_lost") and not result.get("done"):
            self.count_attempt(trial, record.columns["error"])
        self.on_change(record, "running")

    def count_attempt(self, trial: Any, reason: str) -> None:
        """Note why the process of a trial is about to end: an attempt that counts. Ray gives up after the last one."""
        self._reasons[trial.trial_id] = reason
        if not self._has_attempts(self._record(trial).job):
            trial.max_failures = 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write a trial that ended by itself or was stopped by the scheduler, or note it for another attempt."""
        record = self._record(trial)
        del self.records[trial.trial_id]
        result = trial.last_result or {}
        status = result.get("status", "running")
        if status == UNWRITABLE:
            self.write_error = record.columns["error"]
        elif status == "running" and self.should_stop:
            return  # cut off: it goes on from its checkpoint when the study is run again
        elif status == OUT_OF_MEMORY:
            self._out_of_memory(record)
        elif status == "failed":
            self._failed(record, record.columns["error"], may_try_again=not result["final"])
        else:
            self._write(record, "pruned" if status == "running" else status)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write a trial that Ray gave up: its process was lost more often than it is started again."""
        record = self._record(trial)
        del self.records[trial.trial_id]
        record.columns["error"] = self._reasons.pop(trial.trial_id, None) or _error_of(trial)
        self._write(record, "failed")

    def _record(self, trial: Any) -> TrialRecord:
        """Return the record of a trial, opened where there is none: a process may be lost before the trial starts."""
        if trial.trial_id not in self.records:
            choose = self._spec.metric_record(self._spec.choose_by_metric())
            self.records[trial.trial_id] = TrialRecord(
                Job.from_json(trial.config["job"]),
                self._spec.resources.cpu,
                choose_by=choose.name,
                higher_is_better=require_direction(choose),
            )
        return self.records[trial.trial_id]

    def interrupt(self) -> None:
        """Note that the run is to end before its time."""
        self.interrupted = True

    @property
    def should_stop(self) -> bool:
        """Whether to end before all is trained: interrupted, unwritable store, spent budget, too many failed trials."""
        if self.interrupted or self.write_error is not None or self.budget_spent:
            return True
        limit = 1 if self._spec.fail_fast else self._spec.max_failed_trials
        return limit is not None and self.counts["failed"] >= limit

    def use(self, usage: Usage) -> None:
        """Count what trials that have ended used, and note which limits of the budget are spent.

        That is not undone: trials that are cut off then no longer count, but the run is to end all the same.
        """
        self._used += usage
        if self._spec.budget is not None and not self.budget_spent:
            running = total(map(_usage, list(self.records.values())))
            self.budget_spent = self._spec.budget.spent(self._used + running)

    def _out_of_memory(self, record: TrialRecord) -> None:
        job = record.job
        share = min(1.0, 2 * job.gpus)
        if 0 < job.gpus < min(1.0, self._gpus()):
            self.again.append(job.again(f"out of memory with {job.gpus:g} of a GPU; tried again with {share:g}", share))
            self.on_change(record, "again")
        else:
            record.columns["error"] = out_of_memory(self._spec, job.gpus)
            self._write(record, "failed")

    def _failed(self, record: TrialRecord, error: str, may_try_again: bool) -> None:
        if may_try_again and self._has_attempts(record.job):
            self.again.append(record.job.again(f"error: {headline(error)}"))
            self.on_change(record, "again")
        else:
            self._write(record, "failed")

    def _has_attempts(self, job: Job) -> bool:
        return sum(entry.startswith("error:") for entry in job.history) < self._spec.max_failures

    def _write(self, record: TrialRecord, status: str) -> None:
        row = trial_row(record, status, self._spec)
        metrics = dict.fromkeys([*self._spec.metric_records(), *record.metrics])
        try:
            self._store.write_trial(row, epoch_tables(record), [name for name in metrics if name != "seconds"])
            self._thin(record.job)
        except OSError as error:  # raised after Ray has stopped: it would take an error here for one of the trial
            self.write_error = error
            return
        self.counts[status] += 1
        self.use(_usage(record))
        self.results[record.job.digest] = {n: row.get(n) for n in metrics} if status == "completed" else {}
        if status == "failed":
            self.failed_jobs.append((record.job, str(row.get("error"))))
        self.on_change(record, status)

    def _thin(self, job: Job) -> None:
        """Remove the checkpoints that the study does not keep, now that the trial's row is in the store."""
        folder = self._store.checkpoints(job.digest, job.fingerprint)
        for name, kind in ((BEST, "best"), (LAST, "last")):
            if kind not in self._spec.keep:
                folder.remove(name)


def _usage(record: TrialRecord) -> Usage:
    return Usage.of(record.columns.get("seconds"), record.job.gpus, record.cpus)


def _take_error(trial: Any) -> str | None:
    """Return what a trial's process or node failed with; None for a mistake of the driver, which Ray does not pickle.

    Only the text is read. The pickled file is removed, since Ray leaves it there, and a later mistake of the driver
    would be taken for it.
    """
    file = trial.pickled_error_file and Path(trial.pickled_error_file)
    if not file or not file.exists():
        return None
    file.unlink()
    return _error_of(trial)


def _what_happened(error: str) -> str:
    """Say whether code in the trial's process raised, or the process went away under it.

    Ray's text of what was raised names the process as ``(pid=1, ip=...)``, that of a lost process does not.
    What `fit` raises never comes here: the Trainable reports it.
    """
    if re.search(r"\(pid=\d+, ip=", error) is not None:
        last_line = error.strip().rsplit("\n", 1)[-1]
        return f"error outside training: {last_line}"
    return "process or node lost"


def _error_of(trial: Any) -> str:
    """Return what Ray has noted of a trial's last error, from the driver's own copy: that in storage may come later."""
    file = trial.error_file and Path(trial.error_file)
    if not file or not file.exists():
        return "process lost"
    return re.split(r"^Failure # \d+ \(occurred at .*\)\n", file.read_text(encoding="utf-8"), flags=re.M)[-1].strip()
