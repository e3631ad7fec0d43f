"""Run a study: what the store lacks is trained on Ray, and nothing else."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_app.tuning.session import ray_session  # isort: skip  (before Ray)

from ray import tune
from ray.tune.search import ConcurrencyLimiter

from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError
from search_spaces.factors import label
from search_spaces.plan import make_plan
from search_spaces.space import SearchSpace
from search_spaces.store_schema import key
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, source_key
from tune_app.tuning.environment import describe_environment
from tune_app.tuning.jobs import Job, cell_job
from tune_app.tuning.preparation import (
    cut_off,
    load_sources,
    missing_cells,
    notes,
    objective,
    search_configs,
    study_as_run,
)
from tune_app.tuning.progress import Progress
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.resources import cluster_resources, concurrency, gpu_share, must_share_storage
from tune_app.tuning.schedulers import make_scheduler
from tune_app.tuning.searchers import GridSearcher, OptunaSearcher, QueueSearcher, holds
from tune_app.tuning.store.locks import hold
from tune_app.tuning.store.writer import ResultsStore
from tune_app.tuning.tensorboard import TensorBoard
from tune_app.tuning.trainable import CellTrainable, TrialSettings
from tune_app.tuning.tuner import Tuning

__all__ = [
    "RunSummary",
    "load_sources",
    "missing_cells",
    "notes",
    "objective",
    "run_study",
    "search_configs",
    "study_as_run",
]

REPORT_SECONDS = 0.25
PENDING = {"ablation": 64, "search": 8}
"""How many trials wait for a place on a cluster, which is what its autoscaler sees: a search proposes few ahead.

On a local Ray it is the number of trials that fit side by side. With fewer, a reused worker takes the next trial before
another worker is up, and trials shorter than a worker's start (about 5 s) run one at a time.
"""


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


def run_study(
    spec: StudySpec,
    results: str = "results",
    address: str | None = None,
    tensorboard: bool = False,
    shared_folder: bool = False,
) -> RunSummary:
    """Train every cell of a study that its results store does not hold, and return what was done.

    ``tensorboard`` writes event files beside the store, too. ``shared_folder`` says that a local results folder is one
    that every node of the cluster sees.

    Raises StudyError for the user's mistakes before anything is trained: data, resources, a folder that cannot be
    written or that other nodes cannot see, another run that holds the store.
    """
    began = time.monotonic()
    store = ResultsStore(results, spec.name)
    store.prepare()
    callbacks = (TensorBoard(store),) if tensorboard else ()
    with hold(store.folder):
        store.sweep()
        sources = load_sources(spec)
        store.write_study(study_as_run(spec), describe_environment())
        run = _Run(spec, store, sources, address, shared_folder, callbacks)
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
        sources: dict[str, ImageArrays],
        address: str | None,
        shared_folder: bool,
        callbacks: tuple[tune.Callback, ...],
    ) -> None:
        self._spec, self._store, self._sources = spec, store, sources
        self._address, self._shared_folder, self._callbacks = address, shared_folder, callbacks
        self._objective, self._mode = objective(spec)
        self._summary = RunSummary(spec.name, store.folder.url)

    def ablation(self) -> RunSummary:
        """Train the cells that are missing."""
        plan = make_plan(self._spec)
        self._summary.notes += notes(self._spec, self._sources)
        missing = missing_cells(self._spec, self._store, self._sources)
        self._summary.already = len(plan.cells) - len(missing)
        if not missing:
            return self._summary
        with ray_session(self._address):
            share = self._share()
            jobs = [cell_job(cell, self._fingerprint(cell.config), share) for cell in missing]
            self._passes(QueueSearcher(jobs), len(jobs), make_scheduler(None, 1, self._mode), REPORT_SECONDS, share)
        return self._summary

    def search(self) -> RunSummary:
        """Propose and train until the store holds as many trials as the study asks for."""
        spec, space = self._spec, self._spec.search_space()
        with ray_session(self._address):
            share = self._share()
            kind = GridSearcher if spec.search.searcher == "grid" else OptunaSearcher
            searcher = kind(
                space, spec.search, self._mode, lambda config, values: self._proposed(config, values, share)
            )
            curves = self._remember(searcher)
            self._summary.already = searcher.proposed
            if searcher.proposed < searcher.limit:
                scheduler = make_scheduler(spec.search.asha, spec.baseline.epochs, self._mode, curves)
                self._passes(searcher, searcher.limit - searcher.proposed, scheduler, 0.0, share)
        return self._summary

    def _share(self) -> float:
        if self._address is not None and not self._shared_folder:
            must_share_storage(self._store.folder)
        share = gpu_share(self._spec.resources, cluster_resources(), autoscaling=self._address is not None)
        if not share and self._spec.resources.gpu == "auto":
            self._summary.notes.append("no GPU in this Ray: trials run on the CPU (resources.gpu is auto)")
        return share

    def _fingerprint(self, config: TrialConfig) -> str:
        return str(self._sources[source_key(config.data)].fingerprint)

    def _proposed(self, config: TrialConfig, values: Mapping[str, Any], share: float) -> Job:
        config = config.model_copy(update={"seed": self._spec.seeds[0]})
        levels = {path: f"{v:.6g}" if isinstance(v, float) else label(v) for path, v in values.items()}
        name = ", ".join(f"{path.rsplit('.', 1)[-1]}={value}" for path, value in levels.items())
        return Job(name, config == self._spec.baseline, levels, config, self._fingerprint(config), share)

    def _remember(self, searcher: OptunaSearcher) -> list[dict[int, float]]:
        """Tell the searcher what the store holds of this search; return the objective by epoch of each trial."""
        stored, curves = self._store.curves(self._objective), []
        space = self._spec.search_space()
        for trial in self._store.trials():
            values = self._chosen(space, TrialConfig.model_validate(trial.config), trial.fingerprint)
            if values is not None and trial.status != "failed":
                curve = stored.get(key(trial.digest, trial.fingerprint), {})
                searcher.learn(values, space.config(values).digest(), trial.status, curve)
                curves.append(curve)
        for config, fingerprint in cut_off(self._store):
            if (values := self._chosen(space, config, fingerprint)) is not None:
                searcher.put_first(values)
        return curves

    def _chosen(self, space: SearchSpace, config: TrialConfig, fingerprint: str) -> dict[str, Any] | None:
        """Return the values of a space that make a trial; None where it is not of this search or of other data."""
        values = {path: config.get(path) for path in space.domains}
        if not all(holds(domain, values[path]) for path, domain in space.domains.items()):
            return None
        same = space.config(values).model_copy(update={"seed": self._spec.seeds[0]})
        return values if same == config and fingerprint == self._fingerprint(config) else None

    def _passes(self, searcher: Any, total: int, scheduler: Any, report_seconds: float, share: float) -> None:
        """Train; then train again, alone, what ran out of memory, and once more what failed and has attempts left."""
        spec = self._spec
        recorder = Recorder(spec, self._store, float(cluster_resources().get("GPU", 0.0)))
        progress = Progress(total, self._summary.already, self._objective, self._mode, sys.stdout)
        recorder.on_change = progress.hear
        settings = TrialSettings(
            checkpoints=self._store.checkpoints_url,
            checkpoint_seconds=spec.checkpoint_seconds,
            probes=spec.probes,
            cpus=spec.resources.cpu,
            objective=self._objective,
            report_seconds=report_seconds,
        )
        slots = concurrency(spec.resources.cpu, share, cluster_resources())
        pending = slots if self._address is None else PENDING[spec.mode]
        if spec.mode == "search" and self._address is None:
            searcher = ConcurrencyLimiter(searcher, max_concurrent=slots)  # each proposal sees all finished trials
        tuning = Tuning(
            CellTrainable, self._sources, settings, recorder, progress, self._store, pending, self._callbacks
        )
        progress.start()
        try:
            tuning.fit(searcher, total, scheduler, share)
            while recorder.again and not recorder.should_stop:
                jobs, recorder.again = recorder.again, []
                for gpus in sorted({job.gpus for job in jobs}):
                    batch = [job for job in jobs if job.gpus == gpus]
                    alone = any(job.history[-1].startswith("out of memory") for job in batch)
                    queue = QueueSearcher(batch)
                    search = ConcurrencyLimiter(queue, max_concurrent=1) if alone else queue
                    if not recorder.should_stop:
                        tuning.fit(search, len(batch), make_scheduler(None, 1, self._mode), gpus)
        finally:
            progress.stop()
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
