"""The verbs for a study that runs as a job on a cluster: `submit`, `status`, `logs`, `stop`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tune_app.cli.common import Results, Set, Size, Study, console
from tune_app.studies import read_study
from tune_app.user_code import code_archive

if TYPE_CHECKING:
    from tune_app.tuning.submission import JobServer

Address = Annotated[str, typer.Option(help="The cluster's job server, which is its dashboard.")]
Token = Annotated[Path | None, typer.Option(help="File with the cluster's token.", show_default=False)]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job, as `submit` printed it.", show_default=False)]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow plain HTTP to another machine: only in a network that you trust.")
]
HERE = "http://localhost:8265"


def submit(
    study: Study,
    size: Size = None,
    set_: Set = None,
    results: Results = "results",
    address: Address = HERE,
    token_file: Token = None,
    insecure: Insecure = False,
    id_: Annotated[str | None, typer.Option("--id", help="Name of the job; study and time if left out.")] = None,
    shared_folder: Annotated[
        bool, typer.Option("--shared-folder", help="Every node of the cluster can access the results folder (NFS).")
    ] = False,
) -> None:
    """Run a study on a cluster. The study file is sent with the job; submit again to resume.

    Example: `tune-app submit my-study.yaml --address http://localhost:8265 --results s3://bucket/results`
    """
    spec = read_study(study, size, set_ or ())
    options = ["--results", results, *(["--shared-folder"] if shared_folder else [])]
    options += ["--size", size] if size else []
    options += [word for override in set_ or () for word in ("--set", override)]
    name = id_ or f"{spec.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    archive = code_archive(spec) if spec.code is not None else None
    server = _server(address, token_file, insecure)
    if archive is not None:
        from tune_app.tuning.submission import archive_note

        console().print(archive_note(archive), soft_wrap=True)
    job = server.submit(study, name, options, archive)
    console().print(f"submitted {job}", soft_wrap=True)


def status(job: JobId, address: Address = HERE, token_file: Token = None, insecure: Insecure = False) -> None:
    """Print the state of a job; exit code 1 if it failed.

    Example: `tune-app status norms-20261121-120000 --address http://127.0.0.1:8265`
    """
    state, message = _server(address, token_file, insecure).status(job)
    console().print(f"{job}: {state}{': ' + message if message else ''}", soft_wrap=True)
    if state == "FAILED":
        raise typer.Exit(1)


def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", help="Continue until the job ends.")] = False,
    address: Address = HERE,
    token_file: Token = None,
    insecure: Insecure = False,
) -> None:
    """Print the output of a job.

    Example: `tune-app logs norms-20261121-120000 --follow`
    """
    for lines in _server(address, token_file, insecure).logs(job, follow):
        console().print(lines, end="", soft_wrap=True)


def stop(job: JobId, address: Address = HERE, token_file: Token = None, insecure: Insecure = False) -> None:
    """Stop a job cleanly. Finished trials stay in the store; submit the study again to resume.

    Example: `tune-app stop norms-20261121-120000`
    """
    console().print(f"{job}: {_server(address, token_file, insecure).stop(job)}", soft_wrap=True)


def _server(address: str, token_file: Path | None, insecure: bool) -> JobServer:
    from tune_app.tuning.submission import JobServer  # Ray takes seconds to import

    return JobServer(address, token_file, insecure)
