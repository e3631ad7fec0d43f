"""The Ray executor: trials as a Ray Tune run, on this machine or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from search_spaces.study import StudySpec
from tune_app.storage import Folder
from tune_app.tasks import task_of
from tune_app.tuning.cell import TrialSettings
from tune_app.tuning.executor import Batch, Outlet
from tune_app.tuning.resources import (
    cluster_resources,
    concurrency,
    gpu_share,
    local_resources,
    must_share_storage,
)

PENDING = {"ablation": 64, "search": 8}
"""How many trials wait for a place on a cluster, which is what its autoscaler sees: a search proposes few ahead.

On a local Ray it is the number of trials that fit side by side. With fewer, a reused worker takes the next trial before
another worker is up, and trials shorter than a worker's start (about 3 s) run one at a time.
"""


TRAINABLE = "tune_app.tuning.trainable"


class RayExecutor:
    """Runs trials through Ray Tune: on a Ray of its own, or on the cluster at ``address``.

    ``shared_folder`` says that a local results folder is one that every node of the cluster sees. Ray and Ray Tune are
    imported when they are needed: a run that finds nothing to train does without.
    """

    def __init__(self, address: str | None = None, shared_folder: bool = False) -> None:
        """Choose where; nothing is started yet."""
        self._address, self._shared_folder = address, shared_folder
        self._is_own = False

    @property
    def needs_archive(self) -> bool:
        """Whether workers may lack the folder of the user's code."""
        return self._address is not None

    def session(self, spec: StudySpec, trials: int) -> AbstractContextManager[None]:
        """Return the context in which Ray runs.

        Ray starts a process for each CPU. Where trials take at least half of them, all import what trains at once.
        """
        from tune_app.tuning.session import is_running, ray_session

        self._is_own = self._address is None and not is_running()
        here = local_resources()
        used = min(trials, concurrency(spec.resources.cpu, 0.0, here))
        return ray_session(self._address, (TRAINABLE, task_of(spec).trainer) if 2 * used >= here["CPU"] else ())

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
        """Run a batch of trials; Ctrl-C or SIGTERM interrupts the recorder."""
        from tune_app.tuning.tuner import Place, run_tuner

        slots = concurrency(settings.cpus, batch.gpus, cluster_resources())
        is_local = self._address is None
        is_search = batch.stopping.asha is not None or hasattr(batch.searcher, "learn")
        pending = slots if is_local else PENDING["search" if is_search else "ablation"]
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(pending)
        at_once = batch.total if batch.at_once is None else batch.at_once
        at_most = slots if is_search and is_local else None  # a proposal should see every result so far
        workers = 1 if batch.alone else min(slots, at_once)
        place = Place(is_local, self._is_own, 1 if batch.alone else at_most, workers)
        run_tuner(batch, shared, settings, mode, outlet, place)
