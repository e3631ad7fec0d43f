"""The verbs of the service: `serve`, and `token create`, `token list`, `token revoke`."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tune_app.cli.common import Results, console
from tune_app.storage import Folder

if TYPE_CHECKING:
    from tune_app.web.database import Database
    from tune_app.web.settings import Settings
    from tune_app.web.tokens import Tokens

State = Annotated[
    Path | None, typer.Option(help="Local folder for tokens, queue and logs; beside local results if left out.")
]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)]
TokenFile = Annotated[Path | None, typer.Option(help="File that the first token is written to.")]
AllowHost = Annotated[
    list[str] | None, typer.Option(help="Further name that browsers may reach the service by; repeatable.")
]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Start and stop nothing.")]
MaxRuns = Annotated[int, typer.Option(help="Runs at a time; others wait.", min=1, max=64)]
Inline = Annotated[
    bool, typer.Option("--inline", help="Train without Ray, one trial of a run at a time: for tiny studies.")
]
Dashboard = Annotated[
    str | None,
    typer.Option(help="Run studies as jobs of this Ray cluster: its dashboard, such as http://head:8265."),
]
ClusterTokenFile = Annotated[Path | None, typer.Option(help="File with the cluster's token.")]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Allow plain HTTP to a cluster elsewhere: only in a network you trust."),
]
SharedFolder = Annotated[
    bool, typer.Option("--shared-folder", help="With --cluster: every node sees the results folder (NFS).")
]
DataFolder = Annotated[
    list[str] | None, typer.Option(help="Folder that studies may read data from; repeatable; any if left out.")
]
MaxCpus = Annotated[float | None, typer.Option(help="Most CPUs that each trial may ask for.", min=0)]
MaxGpus = Annotated[float | None, typer.Option(help="Largest share of a GPU that each trial may ask for.", min=0)]
NoUserCode = Annotated[bool, typer.Option("--no-user-code", help="Refuse studies that name code of their own.")]
PassEnv = Annotated[
    list[str] | None, typer.Option(help="Environment variable that runs get beside the usual ones; repeatable.")
]
Cert = Annotated[Path | None, typer.Option(help="Certificate file (PEM).")]
Key = Annotated[Path | None, typer.Option(help="Key file (PEM).")]
COMMAND_LINE = "command line"
"""Who changed a token, in the audit log."""
BehindProxy = Annotated[bool, typer.Option("--behind-proxy", help="A proxy in front encrypts the connection.")]


def serve(
    results: Results = "results",
    host: Host = "127.0.0.1",
    port: Port = 8600,
    token_file: TokenFile = None,
    state: State = None,
    allow_host: AllowHost = None,
    read_only: ReadOnly = False,
    max_runs: MaxRuns = 1,
    inline: Inline = False,
    cluster: Dashboard = None,
    cluster_token_file: ClusterTokenFile = None,
    insecure: Insecure = False,
    shared_folder: SharedFolder = False,
    data_folder: DataFolder = None,
    max_cpus: MaxCpus = None,
    max_gpus: MaxGpus = None,
    no_user_code: NoUserCode = False,
    pass_env: PassEnv = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    behind_proxy: BehindProxy = False,
) -> None:
    """Serve the API and the pages over a results folder. Runs that it started go on when it ends.

    Example: `tune-app serve --results results`
    """
    from tune_app.web.settings import Cluster, Settings

    jobs = Cluster(cluster, cluster_token_file, insecure, shared_folder) if cluster else None
    settings = Settings(
        results=absolute(results), host=host, port=port, state=state, token_file=token_file,
        hosts=tuple(allow_host or ()), read_only=read_only, behind_proxy=behind_proxy, tls_cert=tls_cert,
        tls_key=tls_key, max_runs=max_runs, inline=inline, user_code=not no_user_code, max_cpus=max_cpus,
        max_gpus=max_gpus,
        data_folders=None if data_folder is None else tuple(data_folder), pass_environment=tuple(pass_env or ()),
        cluster=jobs,
    )  # fmt: skip
    _serve(settings)


def _serve(settings: Settings) -> None:
    from tune_app.web.server import run_server

    def ready(url: str, new_token: bool) -> None:
        out = console()
        out.print(f"serving {settings.results} at {url}", highlight=False, soft_wrap=True)
        what = "a new administrator token is" if new_token else "the administrator token is, unless it was moved,"
        out.print(f"to sign in: {what} in {settings.token_path}", highlight=False, soft_wrap=True)

    run_server(settings, ready)


tokens = typer.Typer(help="Create, list and revoke the tokens of the service.", no_args_is_help=True)


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the token, such as its user's.", show_default=False)],
    scope: Annotated[str, typer.Option(help="read, run (may execute code) or admin.")] = "read",
    days: Annotated[float | None, typer.Option(help="Days until it expires; never if left out.")] = None,
    results: Results = "results",
    state: State = None,
) -> None:
    """Create a token and print it: it cannot be seen again.

    Example: `tune-app token create anna --scope run --days 90`
    """
    database, known = _opened(results, state)
    with database.transaction():
        token = known.create(name, scope, days)
        database.audit(COMMAND_LINE, "create token", f"{name} ({scope})")
    typer.echo(token)
    place = f"{database.path}{', a new file' if database.is_new else ''}"
    note = f"kept in {place}: valid on a server with these --results or this --state"
    console(stderr=True).print(note, soft_wrap=True)  # not with the token, which a script takes from standard output


@tokens.command(name="list")
def list_tokens(results: Results = "results", state: State = None) -> None:
    """List the tokens without their secrets.

    Example: `tune-app token list`
    """
    table = Table("name", "scope", "created", "expires", "last used", "state")
    for token in _opened(results, state)[1].listed():
        times = (token.created_at, token.expires_at, token.used_at)
        table.add_row(token.name, token.scope, *map(_day, times), "valid" if token.revoked_at is None else "revoked")
    console().print(table)


@tokens.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name of the token.", show_default=False)],
    results: Results = "results",
    state: State = None,
) -> None:
    """Revoke a token: it and the browsers that signed in with it are refused from now on.

    Example: `tune-app token revoke anna`
    """
    database, known = _opened(results, state)
    with database.transaction():
        known.revoke(name)
        database.audit(COMMAND_LINE, "revoke token", name)
    typer.echo(f"revoked {name}")


def _opened(results: str, state: Path | None) -> tuple[Database, Tokens]:
    from tune_app.web.database import Database
    from tune_app.web.settings import Settings
    from tune_app.web.tokens import Tokens

    settings = replace(Settings(results=absolute(results)), state=state)
    database = Database(settings.state_folder)
    return database, Tokens(database)


def _day(at: float | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def absolute(results: str) -> str:
    """Return a results folder as a path that does not depend on the present folder, or the URL as it is."""
    folder = Folder(results)
    return folder.root if folder.is_local and not re.match(r"\w+://", results) else results
