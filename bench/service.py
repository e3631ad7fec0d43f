"""The service with a study of 10,000 trials of 100 epochs and 50 clients, beside optuna-dashboard on as many trials.

``python -m bench service``, a part of ``make bench``, writes the tables in docs/service.md. The server is
`tune-app serve` as a process of its own; clients ask every 2 s, as the pages do, while a run writes its live state once
a second, so that what is shown changes all the time.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from bench.make_store import write_store
from bench.optuna_study import write_optuna
from tune_app.storage import Folder
from tune_app.tuning.store.live import LiveWriter, RunningTrial

PAGE = Path(__file__).parents[1] / "docs" / "service.md"
BEGIN, END = "<!-- bench.service: begin -->", "<!-- bench.service: end -->"
ARMS, SEEDS, EPOCHS = 100, 100, 100
CLIENTS, EVERY, SECONDS = 50, 2.0, 6.0
GRACE_SECONDS = 20.0
ENDPOINTS = {
    "studies": "/api/v1/studies",
    "studies page": "/?part=list",
    "study": "/api/v1/studies/many",
    "study page": "/studies/many?part=live",
    "trials": "/api/v1/studies/many/trials?sort=-test_accuracy&limit=100",
    "trials page": "/studies/many/trials?sort=-test_accuracy",
    "curves": "/api/v1/studies/many/curves?metric=val_accuracy",
    "effects": "/api/v1/studies/many/effects",
}


def measure(arms: int = ARMS, seeds: int = SEEDS, epochs: int = EPOCHS, seconds: float = SECONDS) -> dict[str, float]:
    """Return the figures: milliseconds, seconds and MB by name."""
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        results = Path(folder) / "results"
        factors = {"optimizer.lr": [round(0.01 * step, 2) for step in range(1, arms + 1)]}
        write_store(
            results / "many", name="many", factors=factors, seeds=seeds, epochs=epochs, extras=False, compact=True
        )
        found = {"service.trials": float(arms * seeds)}
        with _served(results) as (http, process), _live_state(results / "many"):
            found |= _index(http, "cold") | _endpoints(http, seconds)
            found["service.memory_mb"] = process.memory_info().rss / 1e6
            found["service.peak_memory_mb"] = _peak(process.pid)
        with _served(results) as (http, _):
            found |= _index(http, "restart")
        found |= _dashboard(Path(folder), arms * seeds, epochs, seconds)
    return found


def _scratch() -> str | None:
    """Return a folder in memory, so that disks do not count; None where there is none."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@contextmanager
def _served(results: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """Serve a results folder and sign in; requests have a token."""
    port = _free_port()
    command = [sys.executable, "-m", "tune_app.cli", "serve", "--results", str(results), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    server.stdout.readline()
    token = (results / ".tune-app-service" / "admin-token").read_text().strip()
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=300, trust_env=False) as http:
            _until(lambda: http.get("/api/v1/healthz").status_code == 200)
            yield http, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


@contextmanager
def _live_state(store: Path) -> Iterator[None]:
    """Write a live state with four running trials once a second, as a run does."""
    live, ended = LiveWriter(Folder(str(store)), "many"), threading.Event()

    def write() -> None:
        epoch = 0
        while not ended.wait(1.0):
            epoch += 1
            points = {"val_accuracy": [(number, 0.5) for number in range(1, epoch + 1)]}
            trials = [RunningTrial(f"d{n}", "f", f"lr=0.{n + 1}", n, epoch, 100, points=points) for n in range(4)]
            live.update(trials, {"completed": epoch}, 100, 0, force=True)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _index(http: httpx.Client, state: str) -> dict[str, float]:
    """Return how long the first answers take, and the same answers a moment later."""
    found: dict[str, float] = {}
    for name in ("study", "curves"):
        for when in (state, f"{state}, again"):
            began = time.perf_counter()
            assert http.get(ENDPOINTS[name]).status_code == 200
            found[f"service.{name} {when}_seconds"] = time.perf_counter() - began
            print(f"{name} {when}: {time.perf_counter() - began:.2f} s", file=sys.stderr, flush=True)
    return found


def _endpoints(http: httpx.Client, seconds: float) -> dict[str, float]:
    """Return p50 and p95 of each endpoint with one client and with many, and of a whole page's requests at once."""
    found: dict[str, float] = {}
    headers = dict(http.headers)
    http.get(ENDPOINTS["effects"])  # computed in the background once anyone has looked at the list of studies
    for name, path in ENDPOINTS.items():
        http.get(path)  # what is computed once in the life of a server is not a page's time
        found |= _quantiles(f"service.{name}, 1 client", _alone(http, path))
        loaded = asyncio.run(_together(str(http.base_url), headers, [path], seconds))
        found |= _quantiles(f"service.{name}, {CLIENTS} clients", loaded)
    paths = [ENDPOINTS["study page"], ENDPOINTS["curves"]]
    together = asyncio.run(_together(str(http.base_url), headers, paths, seconds))
    return found | _quantiles(f"service.study page and curves, {CLIENTS} clients", together)


def _alone(http: httpx.Client, path: str, times: int = 20) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        assert http.get(path).status_code == 200
        found.append(time.perf_counter() - began)
        time.sleep(0.1)
    return found


async def _together(base: str, headers: Mapping[str, str], paths: list[str], seconds: float) -> list[float]:
    """Return the seconds of each answer to many clients that ask every 2 s, each at its own moment, without a tag.

    What is not answered within GRACE_SECONDS of the end counts as if it were answered then.
    """
    found: list[float] = []
    waiting: dict[object, float] = {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=CLIENTS * len(paths))
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=300, limits=limits, trust_env=False) as http:
        end = time.perf_counter() + seconds

        async def ask(path: str) -> None:
            own = object()
            waiting[own] = time.perf_counter()
            answer = await http.get(path)
            assert answer.status_code == 200, answer.text[:300]
            found.append(time.perf_counter() - waiting.pop(own))

        async def client(number: int) -> None:
            await asyncio.sleep(EVERY * number / CLIENTS)
            while time.perf_counter() < end:
                due = time.perf_counter() + EVERY
                await asyncio.gather(*map(ask, paths))
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*map(client, range(CLIENTS))), seconds + GRACE_SECONDS)
    return found + [time.perf_counter() - began for began in waiting.values()]


def _quantiles(name: str, seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    print(f"{name}: {1000 * statistics.median(seconds):.0f} and {1000 * cuts[18]:.0f} ms", file=sys.stderr, flush=True)
    return {f"{name}, p50_ms": 1000 * statistics.median(seconds), f"{name}, p95_ms": 1000 * cuts[18]}


def _dashboard(folder: Path, trials: int, epochs: int, seconds: float) -> dict[str, float]:
    """Return the same of optuna-dashboard's study endpoint over as many trials; nothing where it is not installed."""
    try:
        import optuna_dashboard  # noqa: F401
    except ImportError:
        return {}
    url = f"sqlite:///{folder}/optuna.sqlite"
    write_optuna(url, folder / "optuna.sqlite", trials, epochs)
    port = _free_port()
    program = "import sys; from optuna_dashboard._cli import main; sys.argv[0] = 'optuna-dashboard'; main()"
    command = [sys.executable, "-W", "ignore", "-c", program, url, "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path = "/api/studies/1"
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300, trust_env=False) as http:
            _until(lambda: http.get("/api/studies").status_code == 200)
            began = time.perf_counter()
            shown = http.get(path).json()
            found = {"optuna-dashboard.study cold_seconds": time.perf_counter() - began}
            assert len(shown["trials"]) == trials
            found |= _quantiles("optuna-dashboard.study, 1 client", _alone(http, path, 5))
            loaded = asyncio.run(_together(str(http.base_url), {}, [path], seconds))
            found |= _quantiles(f"optuna-dashboard.study, {CLIENTS} clients", loaded)
            found["optuna-dashboard.memory_mb"] = psutil.Process(server.pid).memory_info().rss / 1e6
    finally:
        server.terminate()
        server.wait()
    return found


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < end, "the server does not answer"
        time.sleep(0.05)


def text(found: Mapping[str, float], load: float) -> str:
    """Return the figures as Markdown."""
    heads = f"| | p50, 1 client | p95, 1 client | p50, {CLIENTS} clients | p95, {CLIENTS} clients |"
    names = (*ENDPOINTS, "study page and curves")
    lines = [f"| {name} | {' | '.join(_cells(found, f'service.{name}'))} |" for name in names]
    lines = [heads, "|---|---:|---:|---:|---:|", *lines]
    if "optuna-dashboard.memory_mb" in found:
        lines.append(f"| optuna-dashboard's study | {' | '.join(_cells(found, 'optuna-dashboard.study'))} |")
    single = [
        f"First answer of a new server: study {found['service.study cold_seconds']:.1f} s, then its curves "
        f"{found['service.curves cold_seconds']:.1f} s; after a restart {found['service.study restart_seconds']:.1f} s "
        f"and {found['service.curves restart_seconds']:.1f} s. Memory of the server "
        f"{found['service.memory_mb']:.0f} MB, at most {found['service.peak_memory_mb']:.0f} MB.",
    ]
    if "optuna-dashboard.memory_mb" in found:
        times = [found[f"{name}.study, {CLIENTS} clients, p95_ms"] for name in ("optuna-dashboard", "service")]
        alone = [found[f"{name}.study, 1 client, p50_ms"] for name in ("optuna-dashboard", "service")]
        single.append(
            f"optuna-dashboard: first answer {found['optuna-dashboard.study cold_seconds']:.1f} s, memory "
            f"{found['optuna-dashboard.memory_mb']:.0f} MB. Its study takes {alone[0] / alone[1]:.0f} times as long "
            f"with 1 client (p50) and {times[0] / times[1]:.0f} times with {CLIENTS} (p95)."
        )
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}; load average before {load:.1f}"
    size = f"{int(found['service.trials']):,} trials of {EPOCHS} epochs, files merged as runs merge them"
    note = f"Milliseconds. {size}; {where}."
    return "\n".join([*lines, "", note, "", *single])


def _cells(found: Mapping[str, float], name: str) -> list[str]:
    names = [f"{name}, {who}, {p}_ms" for who in ("1 client", f"{CLIENTS} clients") for p in ("p50", "p95")]
    return [f"{found[one]:,.0f}" if one in found else "" for one in names]


def write_page(found: Mapping[str, float], load: float) -> None:
    """Write the figures into docs/service.md."""
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{text(found, load)}\n{END}{after}", encoding="utf-8")
