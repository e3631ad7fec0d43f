"""Studies submitted to a real head with a dashboard, its token on."""

import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from drivers import CLI, stored, study, wait_until
from heads import head

from tests.support.own_code import write_package
from tune_app.studies import read_study
from tune_app.tuning.runner import run_study
from tune_app.web import processes
from tune_app.web.run_models import RunSubmission
from tune_app.web.service import Service
from tune_app.web.settings import Cluster, Settings
from tune_app.web.submissions import read

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
TOKEN = "9f2c1d3e4b5a69788776655443322110"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    file = tmp_path_factory.mktemp("secret") / "auth_token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    with head("--num-cpus=2", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(file)) as made:
        yield made, file


@pytest.fixture
def cli(guarded, tmp_path):
    made, file = guarded

    def call(verb, *arguments, token=True):
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        home = tmp_path / "home"  # of a person without a token
        home.mkdir(exist_ok=True)
        tokens = ["--token-file", str(file)] if token else []
        return subprocess.run(
            [*CLI, verb, *arguments, "--address", made.dashboard, *tokens],
            env=plain | {"HOME": str(home)}, capture_output=True, text=True, timeout=200,
        )  # fmt: skip

    return call


def test_a_study_is_submitted_watched_finished_and_its_id_taken_once(cli, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study(epochs=1, seeds=3)))
    submit = [str(file), "--id", "one", "--results", str(tmp_path), "--set", "seeds=1"]
    done = cli("submit", *submit)
    assert (done.returncode, done.stdout) == (0, "submitted one\n"), done.stderr
    logs = cli("logs", "one", "--follow")
    assert "trained 2 (2 completed)" in logs.stdout, logs.stdout + logs.stderr
    status = wait_until(lambda: (found := cli("status", "one")).stdout.startswith("one: SUCCEEDED") and found, 60)
    assert status.returncode == 0
    assert len(stored(tmp_path / "tiny")) == 2
    again = cli("submit", *submit)
    assert again.returncode == 2
    assert "there is a job of this id already" in again.stderr
    unknown = cli("status", "nobody")
    assert (unknown.returncode, "there is no job of this id" in unknown.stderr) == (2, True)


def test_a_study_of_own_code_takes_its_code_along_and_ends_in_the_same_store(cli, tmp_path):
    file = write_package(tmp_path / "project")
    run_study(read_study(file), str(tmp_path / "here"), executor="inline")
    done = cli("submit", str(file), "--id", "own", "--results", str(tmp_path / "there"))
    assert done.returncode == 0, done.stderr
    assert "code: 2 files, 0.0 MiB" in done.stdout
    shutil.rmtree(tmp_path / "project")  # what runs now is what was sent
    logs = cli("logs", "own", "--follow")
    assert "trained 4 (4 completed)" in logs.stdout, logs.stdout + logs.stderr
    columns = ["digest", "code", "train_loss", "val_loss", "test_loss", "best_epoch", "status"]
    here, there = (
        pd.read_parquet(tmp_path / place / "own" / "trials").sort_values("digest")[columns].reset_index(drop=True)
        for place in ("here", "there")
    )
    pd.testing.assert_frame_equal(here, there)


def test_a_stopped_job_ends_in_order(cli, tmp_path):
    file = tmp_path / "long.yaml"
    file.write_text(yaml.safe_dump(study(epochs=100_000, seeds=1)))
    cli("submit", str(file), "--id", "long", "--results", str(tmp_path))
    wait_until(lambda: list(Path(tmp_path / "tiny").rglob("last.pt")))
    stopped = cli("stop", "long")
    assert stopped.stdout == "long: STOPPED\n", stopped.stdout + stopped.stderr
    assert "interrupted: run the same command again" in cli("logs", "long").stdout
    assert not list((tmp_path / "tiny").rglob("*.tmp"))


def test_a_service_runs_studies_as_jobs_and_finds_them_again(guarded, tmp_path):
    made, token = guarded
    results = tmp_path / "results"
    settings = Settings(
        results=str(results), state=tmp_path / "state", cluster=Cluster(made.dashboard, token, shared_folder=True)
    )
    service = Service(settings)
    try:
        who = service.tokens.identify(service.tokens.create("anna", "admin"))
        first = submitted(service, study(epochs=1, seeds=1), who)
        wait_until(lambda: state_of(service, first) not in ("queued", "running"), 200)
        assert state_of(service, first) == "finished", service.runs.log(first, 0).text
        assert "trained 2 (2 completed)" in service.runs.log(first, 0).text
        long = submitted(service, study(name="long", epochs=100_000, seeds=1), who)
        wait_until(lambda: state_of(service, long) and list((results / "long").rglob("last.pt")), 200)
        processes.kill(service.runs.folder(long))
        wait_until(lambda: not processes.is_alive(service.runs.folder(long), 0.0), 60)
        assert state_of(service, long) == "running"  # another process follows the same job
        wait_until(lambda: processes.is_alive(service.runs.folder(long), 0.0), 60)
        service.runs.stop(long, who)
        wait_until(lambda: state_of(service, long) == "stopped", 200)
        assert "STOPPED" in service.runs.log(long, 0).text
    finally:
        service.close()


def submitted(service, tree, who):
    request = RunSubmission(study=yaml.safe_dump(tree))
    run, _ = service.runs.submit(read(request, service.settings), request.study, request, who, None)
    return run.id


def state_of(service, run):
    service.runs.tick()
    return service.runs.get(run).state


def test_without_the_token_nobody_is_let_in_and_told_why(cli, tmp_path):
    refused = cli("status", "one", token=False)
    assert refused.returncode == 2
    assert "--token-file" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_nobody_there_is_one_message():
    done = subprocess.run(
        [*CLI, "status", "one", "--address", "http://127.0.0.1:9"], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, "no job server answers there" in done.stderr) == (2, True), done.stderr
