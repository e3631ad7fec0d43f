"""Run a study: what the store lacks is trained on Ray, and nothing else."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_app.tuning.session import noise_to, ray_session, termination_is_interruption  # isort: skip  (before Ray)

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.search import ConcurrencyLimiter

from search_spaces.errors import StudyError
from search_spaces.factors import label
from search_spaces.plan import Cell, make_plan
from search_spaces.study import StudySpec
from search_spaces.trial import TrialConfig
from tune_app.data import ImageArrays, load_source, source_key
from tune_app.models import model_notes
from tune_app.tuning.environment import describe_environment
from tune_app.tuning.jobs import Job, cell_job
from tune_app.tuning.locks import hold
from tune_app.tuning.progress import Progress
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.resources import cluster_resources, gpu_share
from tune_app.tuning.schedulers import make_scheduler
from tune_app.tuning.searchers import OptunaSearcher, QueueSearcher
from tune_app.tuning.store import ResultsStore
from tune_app.tuning.trainable import CellTrainable, TrialSettings

LOST_PROCESSES = 20
"""How often a trial is started again after its process or node was lost. Apart from a study's ``max_failures``: a
preempted node is no fault of the trial's, but a trial that kills its process each time has to end somewhere."""
REPORT_SECONDS = 0.25


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
    spec: StudySpec, results: str = "results", address: str | None = None, tensorboard: bool = False
) -> RunSummary:
    """Train every cell of a study that its results store does not hold, and return what was done.

    Raises StudyError for the user's mistakes before anything is trained: data, resources, a folder that cannot be
    written, another run that holds the store.
    """
    began = time.monotonic()
    store = ResultsStore(results, spec.name)
    store.prepare()
    with hold(store.folder):
        sources = load_sources(spec)
        store.write_study(study_as_run(spec), describe_environment())
        run = _Run(spec, store, sources, address, tensorboard)
        summary = run.ablation() if spec.mode == "ablation" else run.search()
    summary.seconds = time.monotonic() - began
    return summary


def load_sources(spec: StudySpec) -> dict[str, ImageArrays]:
    """Return the decoded sources of all arms by `source_key`."""
    configs = [arm.config for arm in make_plan(spec).arms] if spec.mode == "ablation" else search_configs(spec)
    by_key = {source_key(config.data): config.data for config in configs}
    return {key: load_source(data) for key, data in by_key.items()}


def search_configs(spec: StudySpec) -> list[TrialConfig]:
    """Return configs that name every source a search may read: the baseline, and each level of `data` fields."""
    space = spec.search_space()
    data = {path: domain for path, domain in space.domains.items() if path.startswith("data.")}
    return [spec.baseline, *(space.config({path: v}) for path, domain in data.items() for v in domain.edges())]


def missing_cells(spec: StudySpec, store: ResultsStore, sources: Mapping[str, ImageArrays]) -> list[Cell]:
    """Return the cells of an ablation that the store does not hold, for the data as it is now."""
    finished = store.finished()
    return [
        cell
        for cell in make_plan(spec).cells
        if (cell.digest, sources[source_key(cell.config.data)].fingerprint) not in finished
    ]


def notes(spec: StudySpec, sources: Mapping[str, ImageArrays]) -> list[str]:
    """Return what a reader should know about the arms of an ablation; StudyError where a model cannot be built."""
    found: list[str] = []
    for arm in make_plan(spec).arms:
        arrays = sources[source_key(arm.config.data)]
        resolution = arm.config.data.resolution or arrays.train_images.shape[1]
        try:
            found += model_notes(arm.config.model, arrays.train_images.shape[3], resolution)
        except StudyError as error:
            raise StudyError(f"arm {arm.name!r} cannot be built: {error}") from None
    return list(dict.fromkeys(found))


def study_as_run(spec: StudySpec) -> dict[str, Any]:
    """Return a study as plain data for the store, its reference arm named."""
    tree = spec.model_dump(mode="json", exclude={"sizes"})
    if spec.mode == "ablation":
        tree["reference_arm"] = make_plan(spec).reference_arm
    return tree


def objective(spec: StudySpec) -> tuple[str, str]:
    """Return the column that choices are made by, and max or min: the study's metric on the validation split."""
    name = "val_" + spec.metric.split("_", 1)[1]
    return name, "min" if name.endswith("loss") else "max"


class _Run:
    def __init__(
        self,
        spec: StudySpec,
        store: ResultsStore,
        sources: dict[str, ImageArrays],
        address: str | None,
        tensorboard: bool,
    ) -> None:
        self._spec, self._store, self._sources, self._address = spec, store, sources, address
        self._tensorboard = tensorboard
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
            searcher = OptunaSearcher(
                space, spec.search, self._mode, lambda config, values: self._proposed(config, values, share)
            )
            curves = self._remember(searcher)
            self._summary.already = searcher.proposed
            limit = spec.search.trials if spec.search.searcher != "grid" else min(spec.search.trials, space.size or 1)
            if searcher.proposed < limit:
                scheduler = make_scheduler(spec.search.asha, spec.baseline.epochs, self._mode, curves)
                self._passes(searcher, limit - searcher.proposed, scheduler, 0.0, share)
        return self._summary

    def _share(self) -> float:
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
        curves = []
        for trial in self._store.trials():
            config = TrialConfig.model_validate(trial.config)
            values = {path: config.get(path) for path in self._spec.search_space().domains}
            same = self._spec.search_space().config(values).model_copy(update={"seed": self._spec.seeds[0]})
            if trial.status == "failed" or same != config or trial.fingerprint != self._fingerprint(config):
                continue
            curve = self._store.curve(trial.digest, trial.fingerprint, self._objective)
            searcher.learn(values, trial.digest, trial.status, curve)
            curves.append(curve)
        return curves

    def _passes(self, searcher: Any, total: int, scheduler: Any, report_seconds: float, share: float) -> None:
        """Train; then train again, alone, what ran out of memory, and once more what failed and has attempts left."""
        spec = self._spec
        recorder = Recorder(spec, self._store, float(cluster_resources().get("GPU", 0.0)))
        progress = Progress(total, self._summary.already, self._objective, self._mode, sys.stdout)
        recorder.on_change = progress.hear
        progress.start()
        try:
            interrupted = self._fit(searcher, total, scheduler, report_seconds, recorder, progress, share)
            while recorder.again and not interrupted and not recorder.should_stop:
                jobs, recorder.again = recorder.again, []
                for gpus in sorted({job.gpus for job in jobs}):
                    batch = [job for job in jobs if job.gpus == gpus]
                    alone = any(job.history[-1].startswith("out of memory") for job in batch)
                    queue = QueueSearcher(batch)
                    search = ConcurrencyLimiter(queue, max_concurrent=1) if alone else queue
                    plain = make_scheduler(None, 1, self._mode)
                    interrupted |= self._fit(search, len(batch), plain, report_seconds, recorder, progress, gpus)
        finally:
            progress.stop()
        if recorder.write_error is not None:
            raise StudyError(
                f"{self._store.folder.url} cannot be written any more: {recorder.write_error}; what was finished is kept; "
                "make room, then run the same command again"
            )
        self._summary.counts = recorder.counts
        self._summary.failed = [(f"{job.arm}, seed {job.config.seed}", error) for job, error in recorder.failed_jobs]
        self._summary.interrupted = interrupted
        self._summary.stopped = recorder.should_stop

    def _fit(
        self,
        searcher: Any,
        total: int,
        scheduler: Any,
        report_seconds: float,
        recorder: Recorder,
        progress: Progress,
        gpus: float,
    ) -> bool:
        """Run one Tuner to its end; return whether it was interrupted."""
        spec = self._spec
        settings = TrialSettings(
            checkpoints=self._store.checkpoints_url,
            checkpoint_seconds=spec.checkpoint_seconds,
            probes=spec.probes,
            cpus=spec.resources.cpu,
            objective=self._objective,
            report_seconds=report_seconds,
        )
        trainable = tune.with_resources(
            tune.with_parameters(CellTrainable, sources=self._sources, settings=settings),
            {"cpu": spec.resources.cpu, "gpu": gpus},
        )
        with tempfile.TemporaryDirectory(prefix="tune-app-", ignore_cleanup_errors=True) as scratch:
            tuner = tune.Tuner(
                trainable,
                tune_config=TuneConfig(
                    search_alg=searcher,
                    scheduler=scheduler,
                    num_samples=total,
                    reuse_actors=True,
                    trial_name_creator=lambda trial: str(trial.trial_id),
                    trial_dirname_creator=lambda trial: str(trial.trial_id),
                ),
                run_config=RunConfig(
                    name=spec.name,
                    storage_path=scratch,
                    callbacks=[recorder, progress],
                    failure_config=FailureConfig(max_failures=LOST_PROCESSES),
                    checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    stop=_Stopper(recorder),
                    verbose=0,
                ),
            )
            with noise_to(self._store.log_file), termination_is_interruption():
                tuner.fit()
        return bool(recorder.records) and not recorder.should_stop


class _Stopper(tune.Stopper):
    """Stops everything when the recorder says that the study is plainly broken."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._recorder.should_stop
