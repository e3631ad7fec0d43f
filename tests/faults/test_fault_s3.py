"""A store on a real S3 server on loopback (moto), through a gate that refuses, delays or is closed."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
import s3fs
from drivers import CLI, driver, study, undisturbed, wait_until

from analysis import load_study
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.storage import Folder, StorageError
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.writer import ResultsStore

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Gate(ThreadingHTTPServer):
    """Passes requests on to a server; answers ``refuse`` of them with 503 first, and waits ``delay`` seconds."""

    daemon_threads = True

    def __init__(self, behind):
        super().__init__(("127.0.0.1", 0), Request)
        self.behind, self.refuse, self.delay, self.refused, self.written = behind, 0, 0.0, 0, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        gate = self.server
        assert isinstance(gate, Gate)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
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

    def answer(self, status, headers, content):
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header(
            "Content-Length", headers.get("Content-Length") if self.command == "HEAD" else str(len(content))
        )
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    port = free_port()
    code = "from moto.server import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers():
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers)
    yield port
    process.kill()
    process.wait()


@pytest.fixture
def gate(server, monkeypatch):
    made = Gate(server)
    threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    environment = {
        "AWS_ENDPOINT_URL": made.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="bucket")
    yield made
    made.shutdown()
    made.server_close()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.cluster  # two whole runs
def test_a_study_on_s3_is_trained_killed_resumed_and_reported(gate, tmp_path):
    tree = study(epochs=3, seeds=1)
    url = "s3://bucket/results"
    with driver(tree, tmp_path, "--results", url) as run:
        wait_until(lambda: any("/trials/" in path for path in gate.written) or run.process.poll() is not None)
        run.kill()
    first = set(load_study(f"{url}/tiny").trials.digest)
    assert first
    gate.written.clear()
    with driver(tree, tmp_path, "--results", url) as run:
        code, out = run.wait()
    assert code == 0, out
    assert not any(digest in path for digest in first for path in gate.written)
    results = load_study(f"{url}/tiny")
    assert results.problems == ()
    rows = {row["digest"]: row["test_loss"] for row in results.trials.to_dict("records")}
    assert rows == {digest: row["test_loss"] for digest, row in undisturbed(tree).items()}
    assert sorted(Folder(f"{url}/tiny/checkpoints").names()) == sorted(
        f"{d}-{results.trials.fingerprint[0]}" for d in rows
    )
    report = subprocess.run(
        [*CLI, "report", "tiny", "--results", url, "--out", str(tmp_path / "page.html")],
        capture_output=True, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_a_server_that_refuses_for_now_is_asked_again(gate):
    folder = Folder("s3://bucket/slow")
    gate.refuse = 3
    folder.write("x", b"content")
    assert gate.refused == 3
    gate.delay = 0.3
    assert folder.read("x") == b"content"
    folder.write("y", b"")
    gate.refuse = 1
    folder.remove_files(["x", "y"])
    assert folder.names() == []


def test_a_server_that_goes_on_refusing_is_told_with_url_and_remedy_and_nothing_is_there(gate):
    folder = Folder("s3://bucket/refused")
    folder.filesystem.retries = 1  # s3fs's own rounds, on top of botocore's: two minutes in all
    gate.refuse = 10_000
    with pytest.raises(StorageError, match=r"s3://bucket/refused cannot be written: .*check the address, the cred"):
        folder.write("x", b"content")
    gate.refuse = 0
    assert folder.names() == []


def test_nobody_there_is_said_before_anything_is_trained(gate, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StudyError, match=r"s3://bucket/results/tiny cannot be written: .*AWS_ENDPOINT_URL"):
        run_study(study_from(study()), "s3://bucket/results")


def test_a_bucket_that_is_not_there_is_the_users_mistake(gate):
    with pytest.raises(StudyError, match=r"s3://no-such-bucket/tiny cannot be written"):
        ResultsStore("s3://no-such-bucket", "tiny").prepare()


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StudyError, match="gs:// needs `pip install gcsfs`"):
        Folder("gs://bucket/results")
