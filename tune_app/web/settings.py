"""How the service is run: where results and state are, who may connect, and the limits it keeps to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from search_spaces.errors import StudyError
from tune_app.storage import Folder

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
STATE_FOLDER = ".tune-app-service"


@dataclass(frozen=True)
class Limits:
    """Upper bounds that keep one client from exhausting the server."""

    body_bytes: int = 1_000_000
    page_size: int = 500
    curves: int = 400
    points_per_curve: int = 300
    log_bytes: int = 256_000
    failed_sign_ins_per_minute: int = 20
    queued_runs: int = 200
    cached_bytes: int = 32_000_000


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster that runs are jobs of: its dashboard, and what `tune-app submit` needs to reach it."""

    address: str
    token_file: Path | None = None
    insecure: bool = False
    shared_folder: bool = False


@dataclass(frozen=True)
class Settings:
    """The settings of one server.

    ``results``: folder or URL that holds a store for each study. ``state``: local folder for the SQLite database, logs
    and study files of runs; beside local results if None. ``hosts``: further values of the Host header that are
    allowed. ``data_folders``: where a submitted study may read data from; anywhere if None. ``max_cpus``,
    ``max_gpus``: the most that each trial of a submitted study may ask for; no bound if None. ``pass_environment``:
    names of environment variables that runs get beside the usual ones. ``inline``: train without Ray. ``cluster``:
    run studies as its jobs, on this machine if None.
    """

    results: str = "results"
    host: str = "127.0.0.1"
    port: int = 8600
    state: Path | None = None
    token_file: Path | None = None
    hosts: tuple[str, ...] = ()
    read_only: bool = False
    behind_proxy: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_runs: int = 1
    inline: bool = False
    data_folders: tuple[str, ...] | None = None
    user_code: bool = True
    max_cpus: float | None = None
    max_gpus: float | None = None
    pass_environment: tuple[str, ...] = ()
    cluster: Cluster | None = None
    limits: Limits = field(default_factory=Limits)

    def check(self) -> None:
        """Raise StudyError where settings contradict each other or would expose the service without encryption."""
        if self.inline and self.cluster is not None:
            raise StudyError("`--inline` trains on this machine and `--cluster` elsewhere; leave one of them out")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise StudyError("`--tls-cert` and `--tls-key` belong together; give both or neither")
        for name, file in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            if file is not None and not file.is_file():
                raise StudyError(f"`{name}` is {str(file)!r}, but there is no such file")
        if self.host not in LOOPBACK and not self.tls_cert and not self.behind_proxy:
            raise StudyError(
                f"`--host` is {self.host!r}, which other machines can reach; give --tls-cert and --tls-key, or "
                "--behind-proxy if a proxy in front of it encrypts the connection"
            )

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the service by HTTPS."""
        return self.behind_proxy or self.tls_cert is not None

    @property
    def state_folder(self) -> Path:
        """The local folder of the database, the logs and the study files of runs."""
        if self.state is not None:
            return self.state
        folder = Folder(self.results)
        if folder.is_local:
            return Path(folder.root) / STATE_FOLDER
        name = hashlib.sha256(self.results.encode()).hexdigest()[:16]
        return Path.home() / ".local" / "state" / "tune-app" / name

    @property
    def token_path(self) -> Path:
        """The file that the first administrator token is written to."""
        return self.token_file or self.state_folder / "admin-token"

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Host names, without port, that requests may name."""
        own = LOOPBACK if self.host in LOOPBACK else (self.host,)
        return frozenset(in_address(name.lower()) for name in (*own, *self.hosts))

    @property
    def url(self) -> str:
        """The address to open."""
        return f"{'https' if self.tls_cert else 'http'}://{in_address(self.host)}:{self.port}/"


def in_address(host: str) -> str:
    """Return a host as it is written in an address and in the Host header: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
