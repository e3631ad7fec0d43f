"""Exports of a store: what arrives in each tool, and that a second export repeats nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tensorboardX import proto
from typer.testing import CliRunner

from analysis import load_study
from bench.make_store import Truth, write_store
from search_spaces.errors import StudyError
from tests.support.processes import free_ports
from tune_app.cli import app
from tune_app.exports import csv_files, mlflow, tensorboard, wandb
from tune_app.exports.records import trials_of

pytestmark = pytest.mark.slow

MLFLOW = Path(__file__).parents[3] / ".mlflow"


@pytest.fixture
def store(tmp_path):
    truth = Truth(statuses={("norm=none", 1): "failed"})
    factors = {"model.norm": ["batch", "none"]}
    return write_store(tmp_path / "norms", name="norms", factors=factors, seeds=2, epochs=3, truth=truth, extras=False)


def train_again(store):
    """Replace a finished trial by one with another test accuracy; return its key."""
    path = sorted((store / "trials").iterdir())[0]
    table = pq.read_table(path)
    column = table.schema.get_field_index("seconds")
    pq.write_table(table.set_column(column, "seconds", [[123.5]]), path)
    return path.stem


def of_another_study(store):
    """Return the store's trials as those of a study that shares its cells."""
    return [dataclasses.replace(trial, study="more-norms") for trial in trials_of(load_study(store))]


def export(*words):
    done = CliRunner().invoke(app, ["export", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_records_have_params_metrics_and_epochs_of_the_store(store):
    results = load_study(store)
    trials = list(trials_of(results))
    assert len({trial.key for trial in trials}) == len(trials) == 4
    trial, row = trials[0], results.trials.iloc[0]
    assert trial.params["model.norm"] == json.loads(row.config)["model"]["norm"]
    assert trial.metrics["test_accuracy"] == row.test_accuracy
    epochs = results.epochs[results.epochs.digest == row.digest].sort_values("epoch")
    assert [values["val_accuracy"] for _, values in trial.epochs] == epochs.val_accuracy.tolist()
    assert [trial.content for trial in trials] == [again.content for again in trials_of(load_study(store))]


def test_csv_has_every_trial_and_epoch_and_no_formula(store):
    for _ in range(2):
        export("csv", "norms", "--results", str(store.parent))
    found = pd.read_csv(store / "exports" / "csv" / "trials.csv")
    results = load_study(store)
    assert found["test_accuracy"].tolist() == pytest.approx(results.trials["test_accuracy"].tolist(), nan_ok=True)
    assert len(pd.read_csv(store / "exports" / "csv" / "epochs.csv")) == len(results.epochs)
    assert csv_files.harmless("=1+1") == "'=1+1"
    assert csv_files.harmless("norm=none") == "norm=none"


def scalars(folder):
    """Return (tag, step) -> value of the event files in a folder; a pair that is there twice fails."""
    found = {}
    for path in folder.glob("events.out.tfevents.*"):
        content = path.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            event = proto.event_pb2.Event.FromString(content[12 : 12 + size])
            for value in event.summary.value:
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = value.simple_value
            content = content[16 + size :]
    return found


def test_tensorboard_has_a_scalar_for_each_epoch_once(store, tmp_path):
    assert "4 trials written" in export(
        "tensorboard", "norms", "--results", str(store.parent), "--out", str(tmp_path / "tb")
    )
    folders = sorted((tmp_path / "tb").iterdir())
    before = {folder.name: folder.stat().st_mtime_ns for folder in folders}
    trial = next(trials_of(load_study(store)))
    (own,) = [folder for folder in folders if folder.name.endswith(f"{trial.key}-norms")]
    assert scalars(own)["val/accuracy", 3] == pytest.approx(trial.epochs[2][1]["val_accuracy"])
    changed = train_again(store)
    said = tensorboard.export(trials_of(load_study(store)), tmp_path / "tb")
    assert said.startswith("1 trials written")
    assert {folder.name for folder in (tmp_path / "tb").iterdir()} == set(before)
    (own,) = [folder for folder in folders if folder.name.endswith(f"{changed}-norms")]
    assert scalars(own)["trial/seconds", 0] == 123.5


def test_tensorboard_has_a_trial_once_whose_arm_has_another_name_now(store, tmp_path):
    folder, trials = tmp_path / "tb", list(trials_of(load_study(store)))
    tensorboard.export(trials, folder)
    renamed = [dataclasses.replace(trial, arm=f"factor={'größer, ' * 100}{trial.arm}") for trial in trials]
    for written in (4, 0):
        assert tensorboard.export(renamed, folder).startswith(f"{written} trials written")
        assert len(list(folder.iterdir())) == 4
    assert tensorboard.export(of_another_study(store), folder).startswith("4 trials written")
    assert len(list(folder.iterdir())) == 8


class FakeServer:
    """As much of MLflow's REST API as the export uses, with its limits."""

    def __init__(self):
        self.experiments, self.runs, self.fail_at = {}, {}, None

    def __call__(self, request):
        path = request.url.path.removeprefix("/api/2.0/mlflow/")
        if path == "experiments/get-by-name":
            name = request.url.params["experiment_name"]
            if name not in self.experiments:
                return httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no experiment"})
            return httpx.Response(200, json={"experiment": {"experiment_id": self.experiments[name]}})
        return httpx.Response(
            200, json=getattr(self, path.replace("/", "_").replace("-", "_"))(json.loads(request.content))
        )

    def experiments_create(self, body):
        self.experiments[body["name"]] = f"e{len(self.experiments)}"
        return {"experiment_id": self.experiments[body["name"]]}

    def runs_search(self, body):
        start = int(body.get("page_token", 0))
        runs = list(self.runs.values())
        shown = [{"info": {"run_id": run["id"]}, "data": {"tags": run["tags"]}} for run in runs[start : start + 3]]
        return {"runs": shown, "next_page_token": str(start + 3) if start + 3 < len(runs) else ""}

    def runs_create(self, body):
        run = {"id": f"r{time.monotonic_ns()}", "tags": list(body["tags"]), "metrics": [], "params": []}
        self.runs[run["id"]] = run
        return {"run": {"info": {"run_id": run["id"]}}}

    def runs_log_batch(self, body):
        metrics, params = body.get("metrics", []), body.get("params", [])
        assert len(metrics) <= 1000
        assert len(params) <= 100
        if self.fail_at is not None and metrics:
            self.fail_at -= 1
            if self.fail_at < 0:
                raise httpx.ConnectError("connection refused")
        run = self.runs[body["run_id"]]
        run["metrics"] += metrics
        run["params"] += params
        return {}

    def runs_update(self, body):
        self.runs[body["run_id"]]["status"] = body["status"]
        return {}

    def runs_set_tag(self, body):
        self.runs[body["run_id"]]["tags"].append({"key": body["key"], "value": body["value"]})
        return {}

    def runs_delete(self, body):
        del self.runs[body["run_id"]]
        return {}


@pytest.fixture
def fake():
    server = FakeServer()
    return server, httpx.Client(transport=httpx.MockTransport(server))


def test_mlflow_gets_each_trial_once(store, fake):
    server, http = fake
    said = mlflow.export(trials_of(load_study(store)), "http://mlflow", "norms", http)
    assert said.startswith("4 runs written")
    assert "0 runs written" in mlflow.export(trials_of(load_study(store)), "http://mlflow", "norms", http)
    assert sorted(run["status"] for run in server.runs.values()) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    changed = train_again(store)
    assert mlflow.export(trials_of(load_study(store)), "http://mlflow", "norms", http).startswith("1 runs written")
    keys = [tag["value"] for run in server.runs.values() for tag in run["tags"] if tag["key"] == mlflow.KEY]
    assert len(keys) == len(set(keys)) == 4
    (run,) = [run for run in server.runs.values() if {"key": mlflow.KEY, "value": changed} in run["tags"]]
    assert [one["value"] for one in run["metrics"] if one["key"] == "final_seconds"] == [123.5]


def test_mlflow_keeps_the_runs_of_another_study_in_the_experiment(store, fake):
    server, http = fake
    mlflow.export(trials_of(load_study(store)), "http://mlflow", "all", http)
    first = set(server.runs)
    assert mlflow.export(of_another_study(store), "http://mlflow", "all", http).startswith("4 runs written")
    assert first < set(server.runs)
    for trials in (trials_of(load_study(store)), of_another_study(store)):
        assert mlflow.export(trials, "http://mlflow", "all", http).startswith("0 runs written")
    studies = [tag["value"] for run in server.runs.values() for tag in run["tags"] if tag["key"] == mlflow.STUDY]
    assert sorted(studies) == ["more-norms"] * 4 + ["norms"] * 4


def test_an_export_that_was_cut_off_is_completed(store, fake):
    server, http = fake
    server.fail_at = 2
    with pytest.raises(StudyError, match=r"no MLflow server answers there: .*run the same command again"):
        mlflow.export(trials_of(load_study(store)), "http://mlflow", "norms", http)
    server.fail_at = None
    mlflow.export(trials_of(load_study(store)), "http://mlflow", "norms", http)
    for run in server.runs.values():
        points = [(one["key"], one["step"]) for one in run["metrics"]]
        assert len(points) == len(set(points)) > 0
    assert len(server.runs) == 4


def test_a_tracker_that_is_down_or_no_tracker_is_one_message(store):
    (port,) = free_ports(1)
    words = ["export", "mlflow", "norms", "--results", str(store.parent), "--to", f"http://127.0.0.1:{port}"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, StudyError)
    assert "no MLflow server answers there" in str(done.exception)
    http = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, text="<html>")))
    with pytest.raises(StudyError, match="it is no MLflow server"):
        mlflow.export(trials_of(load_study(store)), "http://somewhere", "norms", http)


@pytest.fixture
def real_server(tmp_path):
    """A real `mlflow server` on loopback."""
    (port,) = free_ports(1)
    folder = tmp_path / "mlflow"
    folder.mkdir()
    off = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.sqlite", "--artifacts-destination", str(folder)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | off | {"PYTHONPATH": str(MLFLOW)}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 200
        while server.poll() is None and time.monotonic() < end:
            try:
                if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        assert server.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, 9)
        server.wait()


@pytest.mark.skipif(not (MLFLOW / ".installed").exists(), reason="no MLflow server: make .mlflow/.installed")
def test_a_real_mlflow_server_has_the_runs_with_their_metrics(store, real_server):
    words = ["mlflow", "norms", "--results", str(store.parent), "--to", real_server]
    assert "4 runs written" in export(*words)
    assert "0 runs written" in export(*words)
    train_again(store)
    assert "1 runs written" in export(*words)

    def ask(path, body):
        answer = httpx.post(f"{real_server}/api/2.0/mlflow/{path}", json=body, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    by_name = f"{real_server}/api/2.0/mlflow/experiments/get-by-name?experiment_name=norms"
    experiment = httpx.get(by_name, trust_env=False).json()["experiment"]["experiment_id"]
    runs = ask("runs/search", {"experiment_ids": [experiment]})["runs"]
    assert sorted(run["info"]["status"] for run in runs) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    trials = {trial.key: trial for trial in trials_of(load_study(store))}
    for run in runs:
        tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        trial = trials[tags[mlflow.KEY]]
        assert {one["key"]: one["value"] for one in run["data"]["params"]} == {**trial.params}
        history = f"{real_server}/api/2.0/mlflow/metrics/get-history"
        query = {"run_id": run["info"]["run_id"], "metric_key": "val_loss"}
        points = httpx.get(history, params=query, trust_env=False).json().get("metrics", [])
        assert [(one["step"], one["value"]) for one in points] == [
            (epoch, pytest.approx(values["val_loss"])) for epoch, values in trial.epochs
        ]


def test_weights_and_biases_gets_offline_runs_once(store, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the library of Weights & Biases is not installed")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    words = ["wandb", "norms", "--results", str(store.parent), "--out", str(tmp_path / "wb")]
    assert "4 offline runs written" in export(*words)
    assert "0 offline runs written" in export(*words)
    changed = train_again(store)
    assert "1 offline runs written" in export(*words)
    folders = list((tmp_path / "wb" / "wandb").glob("offline-run-*"))
    trials = {trial.key: trial for trial in trials_of(load_study(store))}
    assert sorted(folder.name.split("-", 3)[3] for folder in folders) == sorted(f"{key}-norms" for key in trials)
    for folder in folders:
        trial = next(trial for key, trial in trials.items() if folder.name.endswith(f"{key}-norms"))
        history, summary = wandb_rows(folder)
        assert [row["val_loss"] for row in history] == pytest.approx([values["val_loss"] for _, values in trial.epochs])
        if trial.key == changed:
            assert summary["final_seconds"] == 123.5


def test_weights_and_biases_keeps_the_runs_of_another_study(store, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the library of Weights & Biases is not installed")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for written in (4, 0):
        for trials in (trials_of(load_study(store)), of_another_study(store)):
            assert wandb.export(trials, tmp_path, "all").startswith(f"{written} offline runs written")
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 8


def wandb_rows(folder):
    """Return the history rows and the summary of an offline run."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("*.wandb")
    history, summary = [], {}
    for data in leveldb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            history.append(items(record.history.item))
        elif record.WhichOneof("record_type") == "summary":
            summary |= items(record.summary.update)
    return [row for row in history if "val_loss" in row], summary


def items(found):
    return {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in found}


def leveldb_records(content):
    """Yield the records of a log in LevelDB's format: blocks of 32 KiB, parts of checksum, length, kind and data."""
    block, at, whole = 32768, 7, b""  # after the header of 7 bytes
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""
