"""Studies as jobs of a cluster that runs elsewhere, over Ray's Jobs API."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shlex
import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from search_spaces.errors import StudyError, shown
from search_spaces.files import require_private

STOP_SECONDS, KILL_SECONDS = 60, 10
"""How long a job that is stopped has to end in order, where Ray alone gives 3 s; and then until it has been killed."""
FOLLOW_SECONDS, LOST_SECONDS = 2.0, 600.0
JOB_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"


class JobServer:
    """The job server of a cluster: its dashboard's address, usually through a tunnel."""

    def __init__(self, address: str, token_file: Path | None = None, insecure: bool = False) -> None:
        """Connect; StudyError where no server answers, or where the token is missing or refused.

        Plain HTTP to another machine than this one is refused unless ``insecure``: whoever reads along could take over
        the cluster with the token. A token is set for this process and those it starts, and written nowhere. Ray looks
        for it once, when it is imported: so this module imports it no earlier than here.
        """
        require_safe_address(address, insecure)
        if token_file is not None:
            require_private(token_file)
            os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token_file.absolute()))
        self._address = address
        with self._explaining():
            from ray.job_submission import JobSubmissionClient

            self._client: Any = JobSubmissionClient(address)

    def submit(self, study: str, name: str, options: Sequence[str], archive: bytes | None = None) -> str:
        """Start `tune-app run` on the cluster and return the job's id.

        A study file travels with it, and the user's code as a ZIP archive.
        """
        require_job_id(name)
        with TemporaryDirectory(prefix="tune-app-") as folder, self._explaining():
            travels = Path(study).is_file()
            if travels:
                shutil.copy(study, Path(folder) / "study.yaml")
            if archive is not None:
                code = Path(folder) / "code"
                code.mkdir()  # of a study that names libraries alone it stays empty
                zipfile.ZipFile(io.BytesIO(archive)).extractall(code)
                options = [*options, "--set", "code.root=code"]
            command = ["tune-app", "run", "study.yaml" if travels else study, "--address", "auto", *options]
            files = {"working_dir": folder} if travels or archive is not None else {}
            variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}  # read by the actor that stops the job
            return str(
                self._client.submit_job(
                    entrypoint=shlex.join(command),
                    submission_id=name,
                    runtime_env={**files, "env_vars": variables},
                )
            )

    def status(self, job: str) -> tuple[str, str]:
        """Return a job's status (PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED) and Ray's words about it."""
        require_job_id(job)
        with self._explaining():
            info = self._client.get_job_info(job)
            return str(info.status.value), str(info.message or "")

    def logs(self, job: str, follow: bool = False) -> Iterator[str]:
        """Yield what a job has printed; with ``follow``, also what it prints until it ends."""
        require_job_id(job)
        with self._explaining():
            if not follow:
                yield self._client.get_job_logs(job)
                return
            self._client.get_job_info(job)  # says so where there is no such job
            tail = self._client.tail_job_logs(job)
            with asyncio.Runner() as runner:
                while (lines := runner.run(anext(tail, None))) is not None:
                    yield lines

    def has(self, job: str) -> bool:
        """Return whether the cluster knows a job of this id."""
        require_job_id(job)
        with self._explaining():
            return any(one.submission_id == job for one in self._client.list_jobs())

    def follow(self, job: str) -> Iterator[str]:
        """Yield what a job prints until it ends; a server that does not answer is asked again for LOST_SECONDS."""
        seen, answered, state = 0, time.monotonic(), "PENDING"
        while True:
            ended = state not in ("PENDING", "RUNNING")
            try:
                text = next(self.logs(job))
                state, answered = self.status(job)[0], time.monotonic()
            except StudyError:
                if time.monotonic() - answered > LOST_SECONDS:
                    raise
                text = ""
            if len(text) > seen:
                yield text[seen:]
                seen = len(text)
            if ended:
                return
            time.sleep(FOLLOW_SECONDS)

    def stop(self, job: str) -> str:
        """Stop a job in order, as Ctrl-C does, and return its status when it has ended."""
        require_job_id(job)
        with self._explaining():
            self._client.stop_job(job)
        end = time.monotonic() + STOP_SECONDS + KILL_SECONDS
        while (status := self.status(job)[0]) in ("PENDING", "RUNNING") and time.monotonic() < end:
            time.sleep(0.2)
        return status

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Report what the Jobs API refuses as the user's mistake, with the remedy."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise StudyError(
                f"{self._address} refuses access without the right token; give --token-file ~/.ray/auth_token "
                f"({str(error).splitlines()[0]})"
            ) from None
        except ConnectionError:
            raise StudyError(
                f"`--address` is {self._address!r}, but no job server answers there; it is the dashboard, such "
                "as http://localhost:8265 while `ray dashboard cluster.yaml` runs"
            ) from None
        except (RuntimeError, ImportError) as error:
            raise StudyError(_explained(str(error))) from None


def require_job_id(job: str) -> None:
    """Raise StudyError unless ``job`` can be the ID of a job: it becomes a part of the address that is asked for."""
    if not re.fullmatch(JOB_ID, job):
        raise StudyError(
            f"the job's ID is {shown(job)}, but must be 1 to 128 letters, digits, '.', '_' and '-', the first a letter "
            "or digit: give it as `submit` printed it"
        )


def require_safe_address(address: str, insecure: bool) -> None:
    """Raise StudyError unless ``address`` is HTTPS, or HTTP to this machine, or HTTP at all where ``insecure``."""
    try:
        found = urlsplit(address)
        host = found.hostname or ""
    except ValueError as error:
        raise StudyError(f"`--address` is {shown(address)}, which is no address: {error}") from None
    if found.scheme not in ("http", "https") or not host or found.username is not None:
        raise StudyError(f"`--address` is {shown(address)}, but must be http://HOST:PORT or https://HOST:PORT")
    if found.scheme == "http" and not insecure and not _is_this_machine(host):
        raise StudyError(
            f"`--address` is {shown(address)}, but plain HTTP shows the token to everyone on the way: use https://, or "
            "a tunnel to http://localhost:8265 (`ray dashboard cluster.yaml`), or --insecure in a network you trust"
        )


def _is_this_machine(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _explained(error: str) -> str:
    if "already exists" in error:
        return "there is a job of this id already; choose another --id, or leave it out"
    if "404" in error or "does not exist" in error:
        return "there is no job of this id on that cluster"
    return f"the job server refuses: {error.strip().splitlines()[-1]}"


WARN_BYTES = 10 << 20
"""Size of a code archive from which the largest files are named."""


def archive_note(archive: bytes) -> str:
    """Return how large an archive is, with its largest files where it is large."""
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        files = sorted(packed.infolist(), key=lambda entry: -entry.file_size)
    size = f"{len(archive) / (1 << 20):.1f} MiB"
    largest = ", ".join(f"{entry.filename} ({entry.file_size / (1 << 20):.1f} MiB)" for entry in files[:5])
    note = f"code: {len(files)} files, {size}"
    return f"{note}; the largest: {largest}" if len(archive) > WARN_BYTES else note
