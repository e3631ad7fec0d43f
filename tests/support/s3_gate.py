"""An S3 server on loopback (moto), and a gate before it that refuses, delays or is closed."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
import s3fs

from tests.support.processes import wait_until

_SERVER = """
import threading
from moto.s3.responses import S3Response
from moto.server import main

lock, put = threading.Lock(), S3Response.put_object

def in_one_step(self):  # as S3: moto looks for the file first and writes it later, so that two may create it
    with lock:
        return put(self)

S3Response.put_object = in_one_step
main()
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def moto_server() -> Iterator[int]:
    """Run a server in a process of its own; yields its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers)
        yield port
    finally:
        process.kill()
        process.wait()


def s3_environment(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class Gate(ThreadingHTTPServer):
    """Passes requests on to a server; answers ``refuse`` of them with 503 first, and waits ``delay`` seconds.

    ``away`` closes connections without an answer.
    """

    daemon_threads = True

    def __init__(self, behind: int) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.behind, self.refuse, self.delay, self.refused = behind, 0, 0.0, 0
        self.written: list[str] = []
        self.away = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        gate = self.server
        assert isinstance(gate, Gate)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if gate.away:
            self.close_connection = True
            return
        time.sleep(gate.delay)
        if gate.refuse > 0:
            gate.refuse -= 1
            gate.refused += 1
            text = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            self.answer(503, {"Content-Type": "application/xml"}, text)
            return
        if self.command == "PUT":
            gate.written.append(self.path)
        behind = http.client.HTTPConnection("127.0.0.1", gate.behind, timeout=30)
        behind.request(self.command, self.path, body, dict(self.headers))
        reply = behind.getresponse()
        content = reply.read()
        length = {"Content-Length": reply.headers["Content-Length"]} if self.command == "HEAD" else {}
        self.answer(reply.status, dict(reply.headers) | length, content)
        behind.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def open_gate(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Put a gate before a server, make a bucket behind it, and let this process and its children use it."""
    gate = Gate(port)
    threading.Thread(target=gate.serve_forever, args=(0.05,), daemon=True).start()
    for name, value in s3_environment(gate.url).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="bucket")
    yield gate
    gate.shutdown()
    gate.server_close()
    s3fs.S3FileSystem.clear_instance_cache()
