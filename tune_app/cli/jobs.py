"""The verbs for a study that runs as a job on a cluster: `submit`, `status`, `logs`, `stop`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from search_spaces.errors import StudyError, shown
from search_spaces.files import require_private, url_scheme
from tune_app.cli.common import Results, Set, Size, Study, console, read_study

if TYPE_CHECKING:
    from tune_app.tuning.submission import JobServer
    from tune_app.web.client import Client

Address = Annotated[str, typer.Option(help="The cluster's job server, which is its dashboard.")]
Server = Annotated[
    str | None, typer.Option(help="A `tune-app serve` instead of a cluster, such as http://127.0.0.1:8600.")
]
Token = Annotated[
    Path | None, typer.Option(help="File with the token of the cluster or the server.", show_default=False)
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job, as `submit` printed it.", show_default=False)]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow plain HTTP to another machine: only in a network that you trust.")
]
STOP_SECONDS = 120.0
HERE = "http://localhost:8265"


def submit(
    study: Study,
    size: Size = None,
    set_: Set = None,
    results: Results = "results",
    address: Address = HERE,
    token_file: Token = None,
    insecure: Insecure = False,
    server: Server = None,
    id_: Annotated[str | None, typer.Option("--id", help="Name of the job; study and time if left out.")] = None,
    shared_folder: Annotated[
        bool, typer.Option("--shared-folder", help="Every node of the cluster can access the results folder (NFS).")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print the output until the job ends; Ctrl-C stops the job.")
    ] = False,
) -> None:
    """Run a study on a cluster, or in the queue of a server. The study file is sent with it; submit again to resume.

    Example: `tune-app submit my-study.yaml --address http://localhost:8265 --results s3://bucket/results`
    """
    if server is not None:
        with _client(server, token_file) as client:
            run = client.submit(study, size, set_ or ()).id
            console().print(f"submitted {run}", soft_wrap=True)
            if follow:
                _follow_run(client, run)
        return
    spec = read_study(study, size, set_ or ())
    _require_lasting(results)
    options = ["--results", results, *(["--shared-folder"] if shared_folder else [])]
    options += ["--size", size] if size else []
    options += [word for override in set_ or () for word in ("--set", override)]
    name = id_ or f"{spec.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    jobs = _server(address, token_file, insecure)
    if follow and id_ is not None and jobs.has(name):
        _follow(jobs, name)
    from tune_app.user_code import code_archive

    archive = code_archive(spec) if spec.code is not None else None
    if archive is not None:
        from tune_app.tuning.submission import archive_note

        console().print(archive_note(archive), soft_wrap=True)
    job = jobs.submit(study, name, options, archive)
    console().print(f"submitted {job}", soft_wrap=True)
    if follow:
        _follow(jobs, job)


def _require_lasting(results: str) -> None:
    """Raise StudyError for a relative folder: a job starts in a copy of its files, and a later one in another."""
    if url_scheme(results) in ("", "file") and not results.removeprefix("file://").startswith(("/", "~")):
        raise StudyError(
            f"`--results` is {shown(results)}, but a relative folder would be in the files of the job on the cluster, "
            "where a later job does not find it: give s3://BUCKET/results, or an absolute path (with --shared-folder "
            "if every node sees it)"
        )


def _follow(jobs: JobServer, job: str) -> NoReturn:
    """Print a job's output until it ends, and exit as `run` would; Ctrl-C stops the job in order."""
    try:
        for lines in jobs.follow(job):
            console().print(lines, end="", soft_wrap=True)
    except KeyboardInterrupt:
        console().print(f"stopping {job}", soft_wrap=True)
        state = jobs.stop(job)
    else:
        state, _ = jobs.status(job)
    console().print(f"{job}: {state}", soft_wrap=True)
    raise typer.Exit({"SUCCEEDED": 0, "STOPPED": 130}.get(state, 1))


def _follow_run(client: Client, run: str) -> NoReturn:
    """Print the log of a server's run until it ends, and exit as `run` would; Ctrl-C stops the run in order."""
    try:
        for part in client.log(run, follow=True):
            console().print(part, end="", soft_wrap=True)
    except KeyboardInterrupt:
        console().print(f"stopping {run}", soft_wrap=True)
        client.stop(run)
    state = client.wait(run, STOP_SECONDS).state
    console().print(f"{run}: {state.upper()}", soft_wrap=True)
    raise typer.Exit({"finished": 0, "stopped": 130}.get(state, 1))


def status(
    job: JobId, address: Address = HERE, token_file: Token = None, insecure: Insecure = False, server: Server = None
) -> None:
    """Print the state of a job; exit code 1 if it failed.

    Example: `tune-app status norms-20261121-120000 --address http://127.0.0.1:8265`
    """
    if server is not None:
        with _client(server, token_file) as client:
            run = client.run(job)
        state, message = run.state.upper(), run.reason
    else:
        state, message = _server(address, token_file, insecure).status(job)
    console().print(f"{job}: {state}{': ' + message if message else ''}", soft_wrap=True)
    if state in ("FAILED", "LOST"):
        raise typer.Exit(1)


def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", help="Continue until the job ends.")] = False,
    address: Address = HERE,
    token_file: Token = None,
    insecure: Insecure = False,
    server: Server = None,
) -> None:
    """Print the output of a job.

    Example: `tune-app logs norms-20261121-120000 --follow`
    """
    if server is not None:
        with _client(server, token_file) as client:
            for part in client.log(job, follow):
                console().print(part, end="", soft_wrap=True)
        return
    for lines in _server(address, token_file, insecure).logs(job, follow):
        console().print(lines, end="", soft_wrap=True)


def stop(
    job: JobId, address: Address = HERE, token_file: Token = None, insecure: Insecure = False, server: Server = None
) -> None:
    """Stop a job cleanly. Finished trials stay in the store; submit the study again to resume.

    Example: `tune-app stop norms-20261121-120000`
    """
    if server is not None:
        with _client(server, token_file) as client:
            client.stop(job)
            state = client.wait(job, STOP_SECONDS).state.upper()
    else:
        state = _server(address, token_file, insecure).stop(job)
    console().print(f"{job}: {state}", soft_wrap=True)


def _server(address: str, token_file: Path | None, insecure: bool) -> JobServer:
    from tune_app.tuning.submission import JobServer  # Ray takes seconds to import

    return JobServer(address, token_file, insecure)


def _client(server: str, token_file: Path | None) -> Client:
    """Return a client of a server; its token is in a file, or in the variable TUNE_APP_TOKEN."""
    from tune_app.web.client import Client

    if token_file is not None:
        require_private(token_file)
    token = token_file.read_text("utf-8", "replace") if token_file is not None else os.environ.get("TUNE_APP_TOKEN", "")
    if not token.strip():
        raise StudyError("a server needs a token; give --token-file, or set TUNE_APP_TOKEN")
    return Client(server, token)
