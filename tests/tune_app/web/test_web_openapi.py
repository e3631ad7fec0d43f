"""A client that knows only the OpenAPI document: it submits a study, follows it, fetches effects and Parquet."""

from __future__ import annotations

import io
import re
import signal
import time
from urllib.parse import quote, urljoin

import pandas as pd
import pytest
import requests
from served import ServerProcess, unused_port

pytestmark = pytest.mark.slow

STUDY = {
    "name": "described",
    "question": "Does batch norm help on forty digits?",
    "baseline": {
        "data": {"source": "digits", "train_size": 40, "validation_size": 40, "test_size": 40},
        "model": {"family": "resnet", "depth": 8, "width": 4, "norm": "batch"},
        "batch_size": 20,
        "epochs": 1,
        "precision": "float32",
    },
    "factors": {"model.norm": ["batch", "none"]},
    "seeds": 2,
}


class Described:
    """Finds operations in an OpenAPI document by what they take and return, and calls them with `requests` alone."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.session = url, requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token}"
        self.document = self.session.get(urljoin(url, "/api/v1/openapi.json"), timeout=60).json()

    def operations(self, method, answer=None, body=None):
        """Return the paths of operations of a method that return, and take, the named schemas."""
        for path, operations in self.document["paths"].items():
            if method in operations:
                returned = str(operations[method]["responses"])
                taken = str(operations[method].get("requestBody", ""))
                is_right = answer is None or re.search(rf"#/components/schemas/{answer}'", returned)
                if is_right and (f"#/components/schemas/{body}'" in taken if body else not taken):
                    yield path

    def call(self, method, path, /, body=None, **parameters):
        for name in re.findall(r"\{(\w+)\}", path):
            path = path.replace(f"{{{name}}}", quote(parameters.pop(name)))
        answer = self.session.request(method, urljoin(self.url, path), json=body, params=parameters, timeout=120)
        assert answer.ok, answer.text
        return answer

    def required(self, schema):
        return set(self.document["components"]["schemas"][schema].get("required", ()))


@pytest.mark.timeout(600)
def test_a_client_of_requests_alone_runs_a_study_from_the_document(tmp_path):
    server = ServerProcess(tmp_path / "results", unused_port())
    try:
        client = Described(server.url, server.token)
        assert client.required("RunSubmission") == {"study"}
        (submit,) = client.operations("post", "Run", body="RunSubmission")
        run = client.call("post", submit, {"study": STUDY}).json()
        (one,) = [path for path in client.operations("get", "Run") if "{run}" in path]
        end = time.monotonic() + 400
        while (found := client.call("get", one, run=run["id"]).json())["state"] in ("queued", "running"):
            assert time.monotonic() < end
            time.sleep(0.2)
        assert found["state"] == "finished", found
        (log,) = client.operations("get", "LogPart")
        assert "trained 4 (4 completed)" in client.call("get", log, run=run["id"], offset=0).json()["text"]
        (effects,) = client.operations("get", "Effects")
        rows = client.call("get", effects, name="described").json()["rows"]
        assert [row["arm"] for row in rows] == ["norm=none"]
        (listed,) = client.operations("get", "StoredFile")
        files = [file["name"] for file in client.call("get", listed, name="described").json()]
        assert "trials.parquet" in files
        (file,) = [path for path in client.operations("get") if path.startswith(f"{listed}/")]
        table = pd.read_parquet(io.BytesIO(client.call("get", file, name="described", path="trials.parquet").content))
        assert len(table) == 4
    finally:
        server.end(signal.SIGINT)
