"""The Ray executor: trials as a Ray Tune run, on this machine or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tune_app.tuning.session import interruptible, noise_to, ray_session  # isort: skip  (before Ray)

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.search import ConcurrencyLimiter

from search_spaces.study import StudySpec
from tune_app.storage import Folder
from tune_app.tuning.cell import TrialSettings
from tune_app.tuning.executor import Batch, Outlet
from tune_app.tuning.ray_adapters import Forwarded, Proposals
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.resources import cluster_resources, concurrency, gpu_share, must_share_storage
from tune_app.tuning.schedulers import ray_scheduler
from tune_app.tuning.trainable import CellTrainable
from tune_app.tuning.watchdog import Watchdog, end_worker

LOST_PROCESSES = 20
"""How often a trial is started again after its process or node was lost, or did not come to train. Apart from a study's
``max_failures``: a preempted node is no fault of the trial's, but a trial that kills its process each time has to end
somewhere."""

PENDING = {"ablation": 64, "search": 8}
"""How many trials wait for a place on a cluster, which is what its autoscaler sees: a search proposes few ahead.

On a local Ray it is the number of trials that fit side by side. With fewer, a reused worker takes the next trial before
another worker is up, and trials shorter than a worker's start (about 5 s) run one at a time.
"""


class RayExecutor:
    """Runs trials through Ray Tune: on a Ray of its own, or on the cluster at ``address``.

    ``shared_folder`` says that a local results folder is one that every node of the cluster sees.
    """

    def __init__(self, address: str | None = None, shared_folder: bool = False) -> None:
        """Choose where; nothing is started yet."""
        self._address, self._shared_folder = address, shared_folder

    @property
    def needs_archive(self) -> bool:
        """Whether workers may lack the folder of the user's code."""
        return self._address is not None

    def session(self) -> AbstractContextManager[None]:
        """Return the context in which Ray runs."""
        return ray_session(self._address)

    def gpu_share(self, spec: StudySpec) -> float:
        """Return the share of a GPU that each trial gets."""
        return gpu_share(spec.resources, cluster_resources(), autoscaling=self._address is not None)

    def gpus(self) -> float:
        """Return how many GPUs the cluster has."""
        return float(cluster_resources().get("GPU", 0.0))

    def slots(self, cpus: float, gpus: float) -> int:
        """Return how many trials with these resources run side by side."""
        return concurrency(cpus, gpus, cluster_resources())

    def check_folder(self, folder: Folder) -> None:
        """Raise StudyError where trials may run on nodes that do not see a folder."""
        if self._address is not None and not self._shared_folder:
            must_share_storage(folder)

    def run(self, batch: Batch, shared: Mapping[str, Any], settings: TrialSettings, mode: str, outlet: Outlet) -> None:
        """Run a batch of trials; Ctrl-C or SIGTERM interrupts the recorder.

        Ray keeps its own record of the run in a scratch folder that nothing is read from: the store is the truth.
        """
        slots = concurrency(settings.cpus, batch.gpus, cluster_resources())
        is_search = batch.stopping.asha is not None or hasattr(batch.searcher, "learn")
        pending = slots if self._address is None else PENDING["search" if is_search else "ablation"]
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(pending)
        search: Any = Proposals(batch.searcher, mode)
        if batch.alone or (is_search and self._address is None):  # a proposal should see every result so far
            search = ConcurrencyLimiter(search, max_concurrent=1 if batch.alone else slots)
        with outlet.store.scratch() as scratch:
            at_once = batch.total if batch.at_once is None else batch.at_once
            gate = self._gate(Path(scratch), 1 if batch.alone else min(slots, at_once))
            trainable = tune.with_resources(
                tune.with_parameters(CellTrainable, shared=shared, settings=settings, gate=gate),
                {"cpu": settings.cpus, "gpu": batch.gpus},
            )
            watchdog = Watchdog(settings.trial_timeout, lambda trial, why: _end(trial, why, outlet.recorder))
            listeners = (watchdog, *outlet.listeners, outlet.recorder, outlet.progress)
            tuner = tune.Tuner(
                trainable,
                tune_config=TuneConfig(
                    search_alg=search,
                    scheduler=ray_scheduler(batch.stopping.asha, batch.stopping.epochs, mode, batch.stopping.known),
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
            with noise_to(outlet.store.log_file), interruptible(outlet.recorder.interrupt):
                tuner.fit()

    def _gate(self, scratch: Path, workers: int) -> tuple[str, int] | None:
        """Return the folder in which local workers note that they are up, and how many to wait for."""
        if self._address is not None or workers < 2:
            return None
        folder = scratch / "workers"
        folder.mkdir()
        return str(folder), workers


def _end(trial: Any, reason: str, recorder: Recorder) -> None:
    recorder.count_attempt(trial, reason)
    end_worker(trial)


class _Stopper(tune.Stopper):
    """Stops everything when the recorder says so: interrupted, unwritable store, too many failed trials."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._recorder.should_stop
