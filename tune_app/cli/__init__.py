"""The command line `tune-app`. A user mistake gives one message and exit code 2, never a traceback."""

from __future__ import annotations

import errno
import io
import sys
from typing import NoReturn

import typer

from search_spaces.errors import StudyError
from tune_app.cli import (
    augmentations,
    compact,
    confirm,
    export,
    factorize,
    jobs,
    landscape,
    params,
    report,
    reproduce,
    run,
    serve,
    studies,
)
from tune_app.cli.common import console

app = typer.Typer(
    name="tune-app",
    help="Which of these choices matters, by how much, and how sure are we? Ablations and searches on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    studies.studies,
    studies.validate,
    studies.plan,
    run.run,
    confirm.confirm,
    serve.serve,
    jobs.submit,
    jobs.status,
    jobs.logs,
    jobs.stop,
    compact.compact,
    report.report,
    reproduce.reproduce,
    report.compare,
    export.export,
    landscape.landscape,
    factorize.factorize,
    augmentations.augmentations,
    studies.schema,
    params.params,
):
    app.command()(verb)
app.add_typer(serve.tokens, name="token")


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the terminal's encoding lacks
    try:
        app()
    except StudyError as error:
        _stop(f"error: {error}", 2)
    except OSError as error:
        _stop(f"error: {_explained(error)}", 2)
    except MemoryError:
        _stop("error: not enough memory; use less data, fewer trials side by side or a larger machine", 2)
    except KeyboardInterrupt:
        _stop("stopped; the results store contains the finished trials", 130)


def _stop(message: str, code: int) -> NoReturn:
    console(stderr=True).print(message, style="red" if code == 2 else None, soft_wrap=True)
    sys.exit(code)


_REMEDIES = {
    errno.ENOSPC: "the disk is full: make room and run the same command again",
    errno.EDQUOT: "your quota on that disk is used up: make room and run the same command again",
    errno.EIO: "the disk reports an error: check it, or choose another folder",
    errno.ESTALE: "the network file system was mounted again meanwhile: run the same command again",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EACCES: "this user has no right to it: change the permissions, or choose another folder",
    errno.EPERM: "this user has no right to it: change the permissions, or choose another folder",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.EMFILE: "too many files are open: raise the limit (`ulimit -n`)",
    errno.ENOTDIR: "a part of the path is not a folder: check the path",
    errno.EISDIR: "it is a folder, not a file: check the path",
    errno.ENOENT: "it is not there: check the path",
}


def _explained(error: OSError) -> str:
    """Return what the operating system refused, where, and what to do about it."""
    place = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{place}{what}" + (f"; {remedy}" if remedy else "")
