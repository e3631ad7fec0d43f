"""A head started with cluster.yaml's own environment on loopback: who is let in, and who is not."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
import yaml

from tests.support.processes import end_processes, free_ports, processes_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
TOKEN = "9f2c1d3e4b5a69788776655443322110"
WRONG = "00000000000000000000000000000000"
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
WITH_DASHBOARD = importlib.util.find_spec("aiohttp_cors") is not None  # of ray[default], which cluster nodes install
needs_dashboard = pytest.mark.skipif(not WITH_DASHBOARD, reason="ray[default] is not installed")
DRIVER = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print('let in')"


@dataclass(frozen=True)
class Head:
    address: str
    dashboard: str
    environment: dict[str, str]


def head_environment(root: Path) -> dict[str, str]:
    """Return what cluster.yaml's head exports before `ray start`."""
    command = yaml.safe_load((root / "cluster.yaml").read_text())["head_start_ray_commands"][-1]
    words = shlex.split(command.split("ray start")[0].replace(";", " "))
    return dict(word.split("=", 1) for word in words if re.match(r"RAY_[A-Z_]+=", word) and "SCORER" not in word)


def home_with_token(home: Path, token: str | None) -> Path:
    (home / ".ray").mkdir(parents=True, mode=0o700)
    if token is not None:
        file = home / ".ray" / "auth_token"
        file.touch(mode=0o600)
        file.write_text(token)
    return home


def end(home: Path) -> None:
    end_processes(home)
    assert processes_of(home) == []


@pytest.fixture(scope="module")
def head(root: Path) -> Iterator[Head]:
    scratch = Path(tempfile.mkdtemp(prefix="rt"))  # short: Ray's sockets lie under it, at most 107 characters
    home = home_with_token(scratch / "home", TOKEN)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**plain, "HOME": str(home), **head_environment(root)}
    gcs, dashboard, client, *others = free_ports(8)
    names = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port")
    names += ("metrics-export-port", "node-manager-port")
    options = [f"--{name}={port}" for name, port in zip(names, others, strict=True)]
    if importlib.util.find_spec("grpc"):
        options.append(f"--ray-client-server-port={client}")
    start = [*RAY, "start", "--head", "--node-ip-address=127.0.0.1", f"--port={gcs}", f"--dashboard-port={dashboard}"]
    start += ["--dashboard-host=127.0.0.1", "--num-cpus=1", f"--temp-dir={scratch / 'ray'}", *options]
    try:
        subprocess.run(start, env=environment, check=True, capture_output=True, timeout=120, start_new_session=True)
        yield Head(f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}", environment)
    finally:
        end(home)
        shutil.rmtree(scratch)


def headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@needs_dashboard
@pytest.mark.parametrize(("token", "status"), [(None, 401), (WRONG, 403), (TOKEN, 200)])
@pytest.mark.parametrize("path", ["/api/version", "/api/jobs/", "/nodes?view=summary"])
def test_the_dashboards_api_answers_to_the_token_alone(head: Head, path: str, token: str | None, status: int) -> None:
    assert requests.get(head.dashboard + path, headers=headers(token), timeout=30).status_code == status


@needs_dashboard
@pytest.mark.parametrize(("token", "status"), [(None, 401), (WRONG, 403), (TOKEN, 200)])
def test_a_job_is_taken_with_the_token_alone(head: Head, token: str | None, status: int) -> None:
    name = f"job-{status}"
    job = {"entrypoint": "true", "submission_id": name}
    reply = requests.post(f"{head.dashboard}/api/jobs/", json=job, headers=headers(token), timeout=30)
    assert reply.status_code == status
    jobs = requests.get(f"{head.dashboard}/api/jobs/", headers=headers(TOKEN), timeout=30).json()
    assert (name in {each["submission_id"] for each in jobs}) is (status == 200)


@pytest.mark.parametrize("token", [None, WRONG, TOKEN], ids=["without", "wrong", "right"])
def test_a_driver_is_let_in_with_the_token_alone(head: Head, tmp_path: Path, token: str | None) -> None:
    home = home_with_token(tmp_path / "home", token)
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER, head.address],
        env={**head.environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (driver.stdout == "let in\n") is (token == TOKEN)
    assert (driver.returncode == 0) is (token == TOKEN)
    if token != TOKEN:
        assert "AuthenticationError" in driver.stderr


@needs_dashboard
def test_the_dashboard_listens_on_loopback_alone(head: Head) -> None:
    port = int(head.dashboard.rsplit(":", 1)[1])
    listening = [
        connection.laddr.ip
        for process in processes_of(Path(head.environment["HOME"]))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]
    assert listening == ["127.0.0.1"]
