"""Servers for tests: in a thread with signed-in pages, and `tune-app serve` as a process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tests.support.browser import logged
from tests.support.processes import free_ports
from tune_app.web.app import create_app
from tune_app.web.settings import STATE_FOLDER, Settings


class Served:
    """A server in a thread, over a folder of stores."""

    def __init__(self, results: Path, **settings: Any) -> None:
        self.results = results
        self.app = create_app(Settings(results=str(results), **settings))
        self.token = self.app.state.service.tokens.create("anna", "admin")
        self.port = 0
        self.start()

    def start(self) -> None:
        """Serve on the port of before, or any free one."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen()  # a request may come before the thread's server is ready
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(self.app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Close the port."""
        self.server.should_exit = True
        self.thread.join(timeout=30)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def sign_in(browser: Any, served: Served, width: int = 1300, scheme: str = "light", **options: Any) -> Any:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
    page = context.new_page()
    page.logged = logged(page)
    page.goto(served.url("/queue"))  # leads to sign-in and back
    page.get_by_label("Token").fill(served.token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/queue")
    page.logged.clear()
    return page


class ServerProcess:
    """`tune-app serve --inline` as a process that answers."""

    def __init__(self, results: Path, port: int) -> None:
        command = [sys.executable, "-m", "tune_app.cli", "serve", "--results", str(results), "--port", str(port)]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([*command, "--inline"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.printed = self.process.stdout.readline() + self.process.stdout.readline()
        self.token = (results / STATE_FOLDER / "admin-token").read_text().strip()
        end = time.monotonic() + 120
        while not self._answers():
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v1/healthz", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def unused_port() -> int:
    """Return a port that is free at the moment."""
    (port,) = free_ports(1)
    return port
