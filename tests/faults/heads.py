"""A Ray head on loopback with separate ports, home, temporary folder and process group."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.processes import end_processes, free_ports
from tune_app.tuning.session import QUIET

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
_PORTS = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port", "metrics-export-port")


@dataclass(frozen=True)
class Head:
    address: str
    dashboard: str
    environment: dict[str, str]


@contextmanager
def head(*options, write=None, **variables) -> Iterator[Head]:
    """Start one; ``write`` is a file to make of plain data before, with PORT in it replaced by the head's own."""
    scratch = Path(tempfile.mkdtemp(prefix="rh", dir="/tmp"))  # short: Ray's sockets lie under it
    home = scratch / "home"
    home.mkdir(mode=0o700)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}:{plain['PATH']}"
    environment = plain | QUIET | {"HOME": str(home), "PATH": path} | variables
    gcs, dashboard, client, *others = free_ports(3 + len(_PORTS))
    start = [*RAY, "start", "--head", "--node-ip-address=127.0.0.1", f"--port={gcs}", f"--temp-dir={scratch / 'ray'}"]
    start += [f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", f"--ray-client-server-port={client}"]
    start += [f"--{name}={port}" for name, port in zip(_PORTS, others, strict=True)]
    if write is not None:
        file, tree = write
        file.write_text(yaml.safe_dump(tree).replace("PORT", str(gcs)))
    try:
        done = subprocess.run(
            [*start, *options],
            env=environment, capture_output=True, text=True, timeout=150, start_new_session=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        yield Head(f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}", environment)
    finally:
        end_processes(home)
        shutil.rmtree(scratch, ignore_errors=True)
