"""Run a study: what the store lacks is trained, on Ray or in this process, and nothing else."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from search_spaces.config import Config, config_from
from search_spaces.errors import StudyError
from search_spaces.factors import label
from search_spaces.plan import Plan, make_plan
from search_spaces.space import SearchSpace
from search_spaces.store_schema import key
from search_spaces.study import StudySpec
from search_spaces.study_files import study_to_store
from tune_app.tasks import task_of
from tune_app.tuning.cell import TrialSettings
from tune_app.tuning.code_versions import accepted_code, keep_archive
from tune_app.tuning.environment import describe_environment
from tune_app.tuning.executor import Batch, Executor, Stopping
from tune_app.tuning.interruption import termination_is_interruption
from tune_app.tuning.jobs import Job, cell_job
from tune_app.tuning.passes import Passes, RunSummary
from tune_app.tuning.phases import Phases
from tune_app.tuning.preparation import (
    check_version,
    cut_off,
    note_round,
    objective,
    outdated,
    outdated_search,
    stored_results,
)
from tune_app.tuning.queues import QueueSearcher
from tune_app.tuning.rounds import cells_ahead, cells_needed, known_plan
from tune_app.tuning.store.locks import hold
from tune_app.tuning.store.writer import ResultsStore
from tune_app.tuning.tensorboard import TensorBoard
from tune_app.user_code import CodeSource, code_source

if TYPE_CHECKING:
    from tune_app.tuning.searchers import OptunaSearcher

REPORT_SECONDS = 0.25
"""For how long an ablation collects epochs into one report: no decision there needs each epoch by itself."""

TRIALS_PER_BATCH = 2_000
"""Trials of an ablation in one run of Ray Tune, which keeps an object for each until it ends."""


def make_executor(name: str, address: str | None = None, shared_folder: bool = False) -> Executor:
    """Return the executor of that name: ``ray`` or ``inline``, which refuses an address by a StudyError."""
    if name == "inline":
        if address is not None:
            raise StudyError("`--inline` trains in this process, so it takes no --address; leave one of them out")
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
    executor: str | Executor = "ray",
    code: CodeSource | None = None,
    accept_code: bool = False,
    show: Callable[[RunSummary], None] | None = None,
) -> RunSummary:
    """Train every cell of a study that its results store does not hold, and return what was done.

    ``executor``: ``ray``, ``inline`` for this process, or an executor of your own. ``tensorboard`` writes event files
    beside the store, too. ``shared_folder`` says that a local results folder is one that every node of the cluster
    sees. ``code`` is where the user's code is imported from, the study's own folder if not given. ``accept_code``
    records that the present code computes what the stored one did, so that its cells count as done. ``show`` is called
    with the summary when all is stored: Ray takes another second to end.

    Raises StudyError for the user's mistakes before anything is trained: data, resources, a folder that cannot be
    written or that other nodes cannot see, another run that holds the store.
    """
    began = time.monotonic()
    check_version(spec)
    chosen = make_executor(executor, address, shared_folder) if isinstance(executor, str) else executor
    store = ResultsStore(results, spec.name)
    store.prepare()
    listeners = (TensorBoard(store),) if tensorboard else ()
    with termination_is_interruption(), hold(store.folder) as lease:
        store.require_held = lease.require
        store.sweep()
        source = code or code_source(spec, ship=chosen.needs_archive)
        keep_archive(spec, store)
        spec = accepted_code(spec, store, accept=accept_code)
        phases = Phases()
        with phases.phase("loading data"):
            shared = task_of(spec).prepare(spec, source)
        if spec.mode == "ablation":
            note_round(spec, store)
        store.write_study(study_to_store(spec), describe_environment())
        run = _Run(spec, store, shared, chosen, source, listeners, phases, began)
        with ExitStack() as session:
            try:
                summary = run.ablation(session) if spec.mode == "ablation" else run.search(session)
                store.merge()
            finally:
                store.sweep()  # what a killed trial left
            summary.notes += store.damage
            summary.seconds = time.monotonic() - began
            if show is not None:
                show(summary)
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
        phases: Phases,
        began: float,
    ) -> None:
        self._spec, self._store, self._shared, self._executor = spec, store, shared, executor
        self._code, self._listeners, self._phases = code, listeners, phases
        self._task = task_of(spec)
        self._objective, self._mode = objective(spec)
        self._summary = RunSummary(spec.name, store.folder.url, began=began)
        self._share = 0.0

    def ablation(self, session: ExitStack) -> RunSummary:
        """Train the cells that the study needs and the store lacks, round after round, until it needs none.

        What the executor starts, such as Ray, ends with ``session``.
        """
        plan = make_plan(self._spec)
        stored = stored_results(plan, self._store, self._fingerprint)
        self._summary.already = len(stored)
        first = cells_needed(self._spec, plan, stored)
        if not first:
            return self._summary
        self._summary.notes += outdated(self._spec, self._store, first)
        with ThreadPoolExecutor(1) as beside:
            notes = beside.submit(self._task.notes, self._spec, self._shared)  # takes seconds, as the session does
            with self._phases.phase("starting Ray"):
                session.enter_context(self._executor.session(self._spec, len(first)))
                self._summary.notes += notes.result()
        self._rounds(plan, stored)
        return self._summary

    def _rounds(self, plan: Plan, stored: dict[str, Mapping[str, float | None]]) -> None:
        share = self._gpu_share()
        with self._passes(REPORT_SECONDS) as passes:
            results = ChainMap(passes.recorder.results, stored)
            if self._spec.sequential is None:  # between looks nobody should compare arms
                passes.show_effects(known_plan(self._spec, plan, stored), stored)

            def needed() -> list[Job]:
                cells = cells_needed(self._spec, plan, results)
                cells += cells_ahead(self._spec, plan, results) if cells else []
                return [cell_job(cell, self._fingerprint(cell.config), share) for cell in cells]

            searcher, estimated = QueueSearcher(needed, on_new=passes.expect), set[str]()
            while (jobs := needed()) and not passes.recorder.should_stop:
                before = len(results)
                passes.estimate([job for job in jobs if job.digest not in estimated])
                estimated.update(job.digest for job in jobs)
                passes.train(Batch(searcher, TRIALS_PER_BATCH, share, at_once=min(len(jobs), TRIALS_PER_BATCH)))
                assert passes.recorder.should_stop or len(results) > before, "a batch ended without a result"
            passes.is_complete = not jobs

    def search(self, session: ExitStack) -> RunSummary:
        """Propose and train until the store holds as many trials as the study asks for."""
        from tune_app.tuning.searchers import OptunaSearcher  # imports Optuna, which an ablation does without

        spec, space = self._spec, self._spec.search_space()
        self._summary.notes += outdated_search(spec, self._store)
        searcher = OptunaSearcher(space, spec.search, self._mode, self._proposed)
        curves = self._learn(searcher)
        self._summary.already = searcher.proposed
        if searcher.proposed >= searcher.limit:
            return self._summary
        total = searcher.limit - searcher.proposed
        with self._phases.phase("starting Ray"):
            session.enter_context(self._executor.session(spec, total))
        self._share = self._gpu_share()
        stopping = Stopping(spec.search.asha, spec.baseline.epochs, curves)
        with self._passes(0.0) as passes:
            passes.expect(total)
            passes.estimate([self._proposed(spec.baseline, {})] * total)
            passes.train(Batch(searcher, total, self._share, stopping))
            passes.is_complete = sum(passes.recorder.counts.values()) >= total
        return self._summary

    def _passes(self, report_seconds: float) -> Passes:
        settings = TrialSettings(
            task=self._task,
            choose=self._spec.metric_record(self._objective),
            metric=self._spec.metric,
            checkpoints=self._store.checkpoints_url,
            artifacts=self._store.artifacts_url,
            checkpoint_seconds=self._spec.checkpoint_seconds,
            probes=self._spec.probes,
            cpus=self._spec.resources.cpu,
            report_seconds=report_seconds,
            code=self._code,
            trial_timeout=self._spec.trial_timeout,
        )
        return Passes(self._spec, self._store, self._executor, self._shared, settings, self._summary, self._listeners)

    def _gpu_share(self) -> float:
        self._executor.check_folder(self._store.folder)
        share = self._executor.gpu_share(self._spec)
        if not share and self._spec.resources.gpu == "auto":
            on_cluster = "; a number lets a cluster start GPU nodes" if self._executor.needs_archive else ""
            self._summary.notes.append(f"no GPU here: trials run on the CPU (`resources.gpu` is auto{on_cluster})")
        return share

    def _fingerprint(self, config: Config) -> str:
        return self._task.fingerprint(config, self._shared)

    def _proposed(self, config: Config, values: Mapping[str, Any]) -> Job:
        config = config.model_copy(update={"seed": self._spec.seeds[0]})
        levels = {path: f"{v:.6g}" if isinstance(v, float) else label(v) for path, v in values.items()}
        name = ", ".join(f"{path.rsplit('.', 1)[-1]}={value}" for path, value in levels.items())
        return Job(name, config == self._spec.baseline, levels, config, self._fingerprint(config), self._share)

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
            values = {path: domain.find(config.get(path)) for path, domain in space.domains.items()}
            same = space.config(values).model_copy(update={"seed": self._spec.seeds[0]})
        except (KeyError, StudyError):
            return None
        return values if same.digest() == config.digest() and fingerprint == self._fingerprint(same) else None
