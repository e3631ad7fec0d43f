"""A results folder on S3: listed, read, kept current, with the state on this machine."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from bench.make_store import write_store
from tests.support.s3 import s3_server
from tune_app.storage import Folder
from tune_app.tuning.store.live import LiveWriter, RunningTrial

pytestmark = pytest.mark.slow

RESULTS = "s3://bucket/results"


@pytest.fixture
def remote(monkeypatch, tmp_path):
    store = write_store(tmp_path / "invented", extras=False, question="Does the norm matter?")
    with s3_server(monkeypatch):
        folder = Folder(f"{RESULTS}/invented")
        held_back = sorted((store / "trials").iterdir())[-1]
        for path in sorted(store.rglob("*")):
            if path.is_file() and path != held_back:
                folder.write(path.relative_to(store).as_posix(), path.read_bytes())
        yield folder, held_back


@pytest.mark.timeout(300)
def test_a_results_folder_on_s3_is_served_and_kept_current(remote, make_site, tmp_path):
    folder, held_back = remote
    site = make_site(RESULTS, state=tmp_path / "state")
    site.service.index.least_seconds = 0.0
    client = site.client()
    (listed,) = client.get("/api/v1/studies").json()["studies"]
    assert (listed["name"], listed["ended"], listed["state"]) == ("invented", 19, "incomplete")
    assert not client.get("/api/v1/studies/invented/effects").json()["decided"]
    assert client.get("/api/v1/studies/invented/curves").json()["curves"]
    tag = client.get("/api/v1/studies/invented").headers["etag"]
    assert client.get("/api/v1/studies/invented", headers={"If-None-Match": tag}).status_code == 304
    digest, fingerprint = held_back.stem.split("-")
    points = {"val_accuracy": [(1, 0.5)]}
    LiveWriter(folder, "invented").update([RunningTrial(digest, fingerprint, "", 0, 1, 10, points=points)], {}, 1, 19)
    assert client.get("/api/v1/studies/invented").json()["state"] == "running"
    folder.write(f"trials/{held_back.name}", held_back.read_bytes())
    after = client.get("/api/v1/studies/invented", headers={"If-None-Match": tag})
    assert (after.status_code, after.json()["ended"]) == (200, 20)
    effects = client.get("/api/v1/studies/invented/effects").json()
    assert (effects["decided"], len(effects["rows"])) == (True, 3)
    table = pd.read_parquet(io.BytesIO(client.get("/api/v1/studies/invented/files/trials.parquet").content))
    assert len(table) == 20
    assert "Does the norm matter?" in client.get("/studies/invented").text
    report = client.get("/api/v1/studies/invented/report")
    assert (report.status_code, "Does the norm matter?" in report.text) == (200, True)
    assert site.service.settings.state_folder == tmp_path / "state"
