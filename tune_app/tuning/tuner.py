"""A batch of trials as a run of Ray Tune. Importing this module imports Ray Tune, which takes half a second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_app.tuning.session import interruptible, noise_to  # isort: skip  (before Ray)

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.execution import class_cache
from ray.tune.search import ConcurrencyLimiter

from tune_app.tuning.cell import TrialSettings
from tune_app.tuning.executor import Batch, Outlet
from tune_app.tuning.jobs import Job
from tune_app.tuning.ray_adapters import Actors, Forwarded, Proposals
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.schedulers import ray_scheduler
from tune_app.tuning.trainable import CellTrainable
from tune_app.tuning.watchdog import Watchdog, end_worker

LOST_PROCESSES = 20
"""How often a trial is started again after its process or node was lost, or did not come to train. Apart from a study's
``max_failures``: a preempted node is no fault of the trial's, but a trial that kills its process each time has to end
somewhere."""


@dataclass(frozen=True)
class Place:
    """Where trials run: on this machine or a cluster; at most so many at once, None: as many as fit.

    ``is_own``: this process started Ray, so that the workers have its environment. ``workers`` processes train from the
    start. On this machine the first trial of each waits until all of them are up.
    """

    is_local: bool
    is_own: bool
    at_most: int | None
    workers: int


def run_tuner(
    batch: Batch, shared: Mapping[str, Any], settings: TrialSettings, mode: str, outlet: Outlet, place: Place
) -> None:
    """Run a batch of trials in Ray Tune; Ctrl-C or SIGTERM interrupts the recorder.

    Ray keeps its own record of the run in a scratch folder that nothing is read from: the store is the truth.
    """
    search: Any = Proposals(batch.searcher, mode)
    if place.at_most is not None:
        search = ConcurrencyLimiter(search, max_concurrent=place.at_most)
    with outlet.store.scratch() as scratch:
        trainable = tune.with_resources(
            tune.with_parameters(CellTrainable, shared=shared, settings=settings, gate=_gate(Path(scratch), place)),
            {"cpu": settings.cpus, "gpu": batch.gpus},
        )
        scheduler = ray_scheduler(batch.stopping.asha, batch.stopping.epochs, mode, batch.stopping.known)
        watchdog = _watchdog(settings, Actors(scheduler), outlet)
        listeners = (watchdog, *outlet.listeners, outlet.recorder, outlet.progress)
        tuner = tune.Tuner(
            trainable,
            tune_config=TuneConfig(
                search_alg=search,
                scheduler=scheduler,
                num_samples=batch.total,
                reuse_actors=True,
                trial_name_creator=lambda trial: str(trial.trial_id),
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=RunConfig(
                name="tune",
                storage_path=scratch,
                callbacks=[Forwarded(listener) for listener in listeners],
                failure_config=FailureConfig(max_failures=LOST_PROCESSES),
                checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                stop=_Stopper(outlet.recorder),
                verbose=0,
            ),
        )
        with (
            noise_to(outlet.store.log_file),
            interruptible(outlet.recorder.interrupt),
            _waiting_workers() if place.is_own else nullcontext(),
        ):
            tuner.fit()


def _gate(scratch: Path, place: Place) -> tuple[str, int] | None:
    """Return the folder in which local workers note that they are up, and how many to wait for."""
    if not place.is_local or place.workers < 2:
        return None
    folder = scratch / "workers"
    folder.mkdir()
    return str(folder), place.workers


@contextmanager
def _waiting_workers() -> Iterator[None]:
    """Let trials use the processes that Ray starts beforehand.

    Tune passes some variables of the environment on, with a `runtime_env`, and that alone makes Ray start other
    processes. Those of a Ray that this process started have its environment anyway.
    """
    vars_set, passed_on = dict(class_cache.DEFAULT_ENV_VARS), set(class_cache.ENV_VARS_TO_PROPAGATE)
    class_cache.DEFAULT_ENV_VARS.clear()
    class_cache.ENV_VARS_TO_PROPAGATE.clear()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS.update(vars_set)
        class_cache.ENV_VARS_TO_PROPAGATE.update(passed_on)


def _watchdog(settings: TrialSettings, actors: Actors, outlet: Outlet) -> Watchdog:
    def end(trial: Any, reason: str) -> None:
        actor = actors.of(trial)
        if actor is not None:
            outlet.recorder.count_attempt(trial, reason)
            end_worker(actor)

    return Watchdog(
        settings.trial_timeout,
        end,
        starts=lambda trial: actors.of(trial) is not None,
        arm=lambda trial: Job.from_json(trial.config["job"]).arm,
        say=outlet.progress.note,
    )


class _Stopper(tune.Stopper):
    """Stops everything when the recorder says so: interrupted, unwritable store, too many failed trials."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._recorder.should_stop
