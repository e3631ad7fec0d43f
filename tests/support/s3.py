"""A real S3 server on loopback (moto) with one bucket."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.processes import free_ports


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch, bucket: str = "bucket") -> Iterator[str]:
    """Start the server, let this process use it, make the bucket, and return the server's URL."""
    import boto3
    import s3fs

    (port,) = free_ports(1)
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        end = time.monotonic() + 120
        while not _answers(port):
            assert server.poll() is None
            assert time.monotonic() < end, "the S3 server does not answer"
            time.sleep(0.05)
        boto3.client("s3").create_bucket(Bucket=bucket)
        yield environment["AWS_ENDPOINT_URL"]
    finally:
        server.kill()
        server.wait()
        s3fs.S3FileSystem.clear_instance_cache()


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
