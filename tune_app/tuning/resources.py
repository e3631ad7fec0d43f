"""What a trial is given, and whether the cluster has it at all."""

from __future__ import annotations

import os
from collections.abc import Mapping

from search_spaces.errors import StudyError
from search_spaces.study import StudySpec
from search_spaces.study_parts import AUTO_SHARE, Resources
from tune_app.machine import gpu_names
from tune_app.storage import Folder


def cluster_resources() -> dict[str, float]:
    """Return what the Ray that this process has joined has in all: CPU, GPU, memory."""
    import ray

    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def local_resources() -> dict[str, float]:
    """Return what a Ray started on this machine would have."""
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(len(gpu_names()))}


def must_share_storage(folder: Folder) -> None:
    """Raise StudyError where trials may run on nodes that do not see ``folder``.

    A cluster of one node without CPUs for trials will start other nodes.
    """
    import ray

    if not folder.is_local:
        return
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]
    if nodes > 1 or not cluster_resources().get("CPU"):
        has = f"has {nodes} nodes" if nodes > 1 else "will start other nodes for the trials"
        raise StudyError(
            f"this Ray {has}, but the results are to go to {folder.url}, a folder of this machine; give "
            "--results s3://BUCKET/results, or say --shared-folder if every node sees that folder (NFS)"
        )


def gpu_share(
    resources: Resources, cluster: Mapping[str, float], autoscaling: bool = False, before: float | None = None
) -> float:
    """Return the share of a GPU that each trial gets: ``auto`` is a quarter where the cluster has GPUs, else none.

    Raises StudyError where a trial asks for more than any cluster of this kind will ever have. An autoscaling cluster
    may still start what it lacks now: if it has no machine for trials yet, ``auto`` is what it was ``before``;
    where that is not known, it is an error.
    """
    gpus = cluster.get("GPU", 0.0)
    if autoscaling and resources.gpu == "auto" and not gpus and not cluster.get("CPU"):
        if before is not None:
            return before
        raise StudyError(
            "`resources.gpu` is auto, but this cluster has not started any machine for trials yet, so it is not known "
            "whether they will have GPUs; give the share of each trial in the study, such as `resources: {gpu: 0.25}`, "
            "or 0 to train on CPUs"
        )
    share = (AUTO_SHARE if gpus else 0.0) if resources.gpu == "auto" else float(resources.gpu)
    if autoscaling:
        return share
    if share > gpus:
        raise StudyError(
            f"`resources.gpu` is {share:g}, but this Ray has {gpus:g} GPUs; use gpu: auto (which falls back to "
            "the CPU), or --address of a cluster that has one"
        )
    if resources.cpu > cluster.get("CPU", 0.0):
        raise StudyError(
            f"`resources.cpu` is {resources.cpu:g}, but this Ray has {cluster.get('CPU', 0.0):g} CPUs in all; lower it"
        )
    return share


def out_of_memory(spec: StudySpec, share: float) -> str:
    """Return what to say of a trial that ran out of memory with a share of a GPU, 0 for none, with the remedy."""
    where = f"with {share:g} of a GPU" if share else "on the CPU"
    if spec.task is None:
        return f"out of memory {where}; try a smaller batch_size or model.width"
    larger = "machine" if not share else "GPU" if share >= 1 else "share in `resources.gpu`"
    return f"out of memory {where}; use less memory in `args`, or a larger {larger}"


def concurrency(cpus: float, share: float, cluster: Mapping[str, float]) -> int:
    """Return how many trials run side by side on the cluster as it is now."""
    fits = cluster.get("CPU", 1.0) / cpus
    if share:
        gpus = cluster.get("GPU", 0.0)
        fits = min(fits, gpus * int(1 / share) if share <= 1 else gpus // share)
    return max(1, int(fits))
