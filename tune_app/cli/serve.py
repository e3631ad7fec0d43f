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
    from tune_app.web.tokens import Tokens

State = Annotated[
    Path | None, typer.Option(help="Local folder for tokens, queue and logs; beside local results if left out.")
]


def serve(
    results: Results = "results",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8600,
    token_file: Annotated[Path | None, typer.Option(help="File that the first token is written to.")] = None,
    state: State = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Further name that browsers may reach the service by; repeatable.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Start and stop nothing.")] = False,
    max_runs: Annotated[int, typer.Option(help="Runs at a time; others wait.", min=1, max=64)] = 1,
    inline: Annotated[
        bool, typer.Option("--inline", help="Train without Ray, one trial of a run at a time: for tiny studies.")
    ] = False,
    data_folder: Annotated[
        list[str] | None, typer.Option(help="Folder that studies may read data from; repeatable; any if left out.")
    ] = None,
    no_user_code: Annotated[
        bool, typer.Option("--no-user-code", help="Refuse studies that name code of their own.")
    ] = False,
    pass_env: Annotated[
        list[str] | None, typer.Option(help="Environment variable that runs get beside the usual ones; repeatable.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate file (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key file (PEM).")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front encrypts the connection.")
    ] = False,
) -> None:
    """Serve the API and the pages over a results folder. Runs that it started go on when it ends.

    Example: `tune-app serve --results results`
    """
    from tune_app.web.settings import Settings

    settings = Settings(
        results=absolute(results),
        host=host,
        port=port,
        state=state,
        token_file=token_file,
        hosts=tuple(allow_host or ()),
        read_only=read_only,
        max_runs=max_runs,
        inline=inline,
        data_folders=tuple(data_folder) if data_folder is not None else None,
        user_code=not no_user_code,
        pass_environment=tuple(pass_env or ()),
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=behind_proxy,
    )
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
    typer.echo(_tokens(results, state).create(name, scope, days))


@tokens.command(name="list")
def list_tokens(results: Results = "results", state: State = None) -> None:
    """List the tokens without their secrets.

    Example: `tune-app token list`
    """
    table = Table("name", "scope", "created", "expires", "last used", "state")
    for token in _tokens(results, state).listed():
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
    _tokens(results, state).revoke(name)
    typer.echo(f"revoked {name}")


def _tokens(results: str, state: Path | None) -> Tokens:
    from tune_app.web.database import Database
    from tune_app.web.settings import Settings
    from tune_app.web.tokens import Tokens

    settings = replace(Settings(results=absolute(results)), state=state)
    return Tokens(Database(settings.state_folder))


def _day(at: float | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def absolute(results: str) -> str:
    """Return a results folder as a path that does not depend on the present folder, or the URL as it is."""
    folder = Folder(results)
    return folder.root if folder.is_local and not re.match(r"\w+://", results) else results
