"""The commands that runs consist of: `tune-app run`, or `tune-app submit --follow` where a cluster trains."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tune_app.web.settings import Cluster, Settings

_CLI = [sys.executable, "-m", "tune_app.cli"]


def command_of(file: str, settings: Settings, size: str | None, overrides: Sequence[str], job: str) -> list[str]:
    """Return the command that runs a study: on this machine, or as ``job`` of the cluster, which it follows."""
    options = [f"--results={settings.results}", *([f"--size={size}"] if size else [])]
    options += [f"--set={override}" for override in overrides]
    if settings.cluster is None:
        return [*_CLI, "run", file, *options, *(["--inline"] if settings.inline else [])]
    options += ["--shared-folder"] if settings.cluster.shared_folder else []
    return [*_CLI, "submit", file, *options, f"--id={job}", "--follow", *_reach(settings.cluster)]


def stop_command(cluster: Cluster, job: str) -> list[str]:
    """Return the command that stops a job of a cluster."""
    return [*_CLI, "stop", job, *_reach(cluster)]


def _reach(cluster: Cluster) -> list[str]:
    """Return the options with which the verbs of jobs reach a cluster."""
    token = [f"--token-file={cluster.token_file}"] if cluster.token_file else []
    return [f"--address={cluster.address}", *token, *(["--insecure"] if cluster.insecure else [])]
