"""Run a study: what the store lacks is trained, on Ray or in this process, and nothing else."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.config import Config, config_from
from search_spaces.errors import StudyError
from search_spaces.factors import label
from search_spaces.plan import make_plan
from search_spaces.space import SearchSpace
from search_spaces.store_schema import key
from search_spaces.study import StudySpec
from search_spaces.study_files import study_to_store
from tune_app.tasks import task_of
from tune_app.tuning.cell import TrialSettings
from tune_app.tuning.code_versions import accepted_code, keep_archive
from tune_app.tuning.environment import describe_environment
from tune_app.tuning.executor import Batch, Executor, Outlet, Stopping
from tune_app.tuning.jobs import Job, cell_job
from tune_app.tuning.preparation import cut_off, missing_cells, objective
from tune_app.tuning.progress import Progress
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.searchers import OptunaSearcher, QueueSearcher, Searcher, holds
from tune_app.tuning.store.live import LiveWriter
from tune_app.tuning.store.locks import hold
from tune_app.tuning.store.rows import TrialRecord, running_trial
from tune_app.tuning.store.writer import ResultsStore
from tune_app.tuning.tensorboard import TensorBoard
from tune_app.user_code import CodeSource, code_source

REPORT_SECONDS = 0.25
"""For how long an ablation collects epochs into one report: no decision there needs each epoch by itself."""


@dataclass
class RunSummary:
    """What a run did."""

    study: str
    store: str
    already: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    stopped: bool = False
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def trained(self) -> int:
        """Trials that ended in this run."""
        return sum(self.counts.values())


def make_executor(name: str, address: str | None = None, shared_folder: bool = False) -> Executor:
    """Return the executor of that name: ``ray`` or ``inline``."""
    if name == "inline":
        from tune_app.tuning.inline import InlineExecutor

        return InlineExecutor()
    from tune_app.tuning.ray_executor import RayExecutor

    return RayExecutor(address, shared_folder)


def run_study(
    spec: StudySpec,
    results: str = "results",
    address: str | None = None,
    tensorboard: bool = False,
    shared_folder: bool = False,
    executor: str = "ray",
    code: CodeSource | None = None,
    accept_code: bool = False,
) -> RunSummary:
    """Train every cell of a study that its results store does not hold, and return what was done.

    ``executor``: ``ray``, or ``inline`` for this process. ``tensorboard`` writes event files beside the store, too.
    ``shared_folder`` says that a local results folder is one that every node of the cluster sees. ``code`` is where the
    user's code is imported from, the study's own folder if not given. ``accept_code`` records that the present code
    computes what the stored one did, so that its cells count as done.

    Raises StudyError for the user's mistakes before anything is trained: data, resources, a folder that cannot be
    written or that other nodes cannot see, another run that holds the store.
    """
    began = time.monotonic()
    store = ResultsStore(results, spec.name)
    store.prepare()
    listeners = (TensorBoard(store),) if tensorboard else ()
    chosen = make_executor(executor, address, shared_folder)
    with hold(store.folder) as lease:
        store.require_held = lease.require
        store.sweep()
        source = code or code_source(spec, ship=chosen.needs_archive)
        keep_archive(spec, store)
        spec = accepted_code(spec, store, accept=accept_code)
        shared = task_of(spec).prepare(spec, source)
        store.write_study(study_to_store(spec), describe_environment())
        run = _Run(spec, store, shared, chosen, source, listeners)
        try:
            summary = run.ablation() if spec.mode == "ablation" else run.search()
        finally:
            store.sweep()  # what a killed trial left
    summary.notes += store.damage
    summary.seconds = time.monotonic() - began
    return summary


class _Run:
    def __init__(
        self,
        spec: StudySpec,
        store: ResultsStore,
        shared: Mapping[str, Any],
        executor: Executor,
        code: CodeSource,
        listeners: tuple[object, ...],
    ) -> None:
        self._spec, self._store, self._shared, self._executor = spec, store, shared, executor
        self._code, self._listeners = code, listeners
        self._task = task_of(spec)
        self._objective, self._mode = objective(spec)
        self._summary = RunSummary(spec.name, store.folder.url)

    def ablation(self) -> RunSummary:
        """Train the cells that are missing."""
        plan = make_plan(self._spec)
        self._summary.notes += self._task.notes(self._spec, self._shared)
        missing = missing_cells(self._spec, self._store, self._shared)
        self._summary.already = len(plan.cells) - len(missing)
        if not missing:
            return self._summary
        with self._executor.session():
            share = self._share()
            jobs = [cell_job(cell, self._fingerprint(cell.config), share) for cell in missing]
            self._passes(Batch(QueueSearcher(jobs), len(jobs), share), REPORT_SECONDS)
        return self._summary

    def search(self) -> RunSummary:
        """Propose and train until the store holds as many trials as the study asks for."""
        spec, space = self._spec, self._spec.search_space()
        with self._executor.session():
            share = self._share()
            searcher = OptunaSearcher(
                space, spec.search, self._mode, lambda config, values: self._proposed(config, values, share)
            )
            curves = self._learn(searcher)
            self._summary.already = searcher.proposed
            if searcher.proposed < searcher.limit:
                stopping = Stopping(spec.search.asha, spec.baseline.epochs, curves)
                self._passes(Batch(searcher, searcher.limit - searcher.proposed, share, stopping), 0.0)
        return self._summary

    def _share(self) -> float:
        self._executor.check_folder(self._store.folder)
        share = self._executor.gpu_share(self._spec)
        if not share and self._spec.resources.gpu == "auto":
            self._summary.notes.append("no GPU here: trials run on the CPU (resources.gpu is auto)")
        return share

    def _fingerprint(self, config: Config) -> str:
        return self._task.fingerprint(config, self._shared)

    def _proposed(self, config: Config, values: Mapping[str, Any], share: float) -> Job:
        config = config.model_copy(update={"seed": self._spec.seeds[0]})
        levels = {path: f"{v:.6g}" if isinstance(v, float) else label(v) for path, v in values.items()}
        name = ", ".join(f"{path.rsplit('.', 1)[-1]}={value}" for path, value in levels.items())
        return Job(name, config == self._spec.baseline, levels, config, self._fingerprint(config), share)

    def _learn(self, searcher: OptunaSearcher) -> list[dict[int, float]]:
        """Let the searcher learn what the store holds of this search; return the objective by epoch of each trial."""
        stored, curves = self._store.curves(self._objective), []
        space = self._spec.search_space()
        for trial in self._store.trials():
            values = self._chosen(space, config_from(trial.config, stored=True), trial.fingerprint)
            if values is not None and trial.status != "failed":
                curve = stored.get(key(trial.digest, trial.fingerprint), {})
                searcher.learn(values, space.config(values).digest(), trial.status, curve)
                curves.append(curve)
        for config, fingerprint in cut_off(self._store):
            if (values := self._chosen(space, config, fingerprint)) is not None:
                searcher.put_first(values)
        return curves

    def _chosen(self, space: SearchSpace, config: Config, fingerprint: str) -> dict[str, Any] | None:
        """Return the values of a space that make a trial; None where it is not of this search or of other data."""
        try:
            values = {path: config.get(path) for path in space.domains}
        except KeyError:
            return None
        if not all(holds(domain, values[path]) for path, domain in space.domains.items()):
            return None
        same = space.config(values).model_copy(update={"seed": self._spec.seeds[0]})
        return values if same.digest() == config.digest() and fingerprint == self._fingerprint(same) else None

    def _passes(self, batch: Batch, report_seconds: float) -> None:
        """Train; then train again, alone, what ran out of memory, and once more what failed and has attempts left."""
        spec = self._spec
        recorder = Recorder(spec, self._store, self._executor.gpus())
        progress = Progress(batch.total, self._summary.already, self._objective, self._mode, sys.stdout)
        live = LiveWriter(self._store.folder, spec.name)

        def on_change(record: TrialRecord, event: str) -> None:
            progress.update(record, event)
            running = (running_trial(other) for other in recorder.records.values())
            live.update(running, recorder.counts, batch.total, self._summary.already)

        recorder.on_change = on_change
        outlet = Outlet(recorder, progress, self._store, self._listeners)
        settings = TrialSettings(
            task=self._task,
            choose=spec.metric_record(self._objective),
            metric=spec.metric,
            checkpoints=self._store.checkpoints_url,
            artifacts=self._store.artifacts_url,
            checkpoint_seconds=spec.checkpoint_seconds,
            probes=spec.probes,
            cpus=spec.resources.cpu,
            report_seconds=report_seconds,
            code=self._code,
            trial_timeout=spec.trial_timeout,
        )
        progress.start()
        try:
            self._executor.run(batch, self._shared, settings, self._mode, outlet)
            while recorder.again and not recorder.should_stop:
                jobs, recorder.again = recorder.again, []
                for gpus in sorted({job.gpus for job in jobs}):
                    some = [job for job in jobs if job.gpus == gpus]
                    alone = any(job.history[-1].startswith("out of memory") for job in some)
                    queue: Searcher = QueueSearcher(some)
                    if not recorder.should_stop:
                        again = Batch(queue, len(some), gpus, alone=alone)
                        self._executor.run(again, self._shared, settings, self._mode, outlet)
        finally:
            progress.stop()
            live.update((), recorder.counts, batch.total, self._summary.already, force=True)
            live.close()
        self._conclude(recorder)

    def _conclude(self, recorder: Recorder) -> None:
        if recorder.write_error is not None:
            raise StudyError(
                f"{self._store.folder.url} cannot be written any more: {recorder.write_error}; what was finished "
                "is kept: make room, or the place reachable, then run the same command again"
            )
        summary = self._summary
        summary.counts = recorder.counts
        summary.failed = [(f"{job.arm}, seed {job.config.seed}", error) for job, error in recorder.failed_jobs]
        summary.interrupted = recorder.interrupted
        summary.stopped = recorder.should_stop and not recorder.interrupted
