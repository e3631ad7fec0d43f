"""The typed client, `--server` on the command line, and a real run of a tiny study."""

from __future__ import annotations

import io
import signal
from contextlib import closing
from types import SimpleNamespace

import httpx
import pandas as pd
import pytest
from served import ServerProcess, unused_port
from typer.testing import CliRunner

from search_spaces.errors import StudyError
from tests.support.processes import wait_until
from tune_app.cli import app as command_line
from tune_app.cli import jobs
from tune_app.web.client import Client
from tune_app.web.database import Database
from tune_app.web.settings import STATE_FOLDER

pytestmark = pytest.mark.slow

STUDY = """
name: tiny
question: Does batch norm help on forty digits?
baseline:
  data: {source: digits, train_size: 40, validation_size: 40, test_size: 40}
  model: {family: resnet, depth: 8, width: 4, norm: batch}
  batch_size: 20
  epochs: 1
  precision: float32
factors:
  model.norm: [batch, none]
seeds: 2
"""


@pytest.fixture
def client(site):
    return Client("http://localhost:8600", site.tokens["run"], http=site.client(None))


def test_the_client_reads_a_study(client):
    assert {study.name for study in client.studies()} == {"invented", "search"}
    assert client.study("invented").metric_info.unit == "%"
    assert client.effects("invented").decided
    trials = list(client.trials("invented", limit=7))
    assert len({trial.key for trial in trials}) == 20
    assert client.trial("invented", trials[0].key).config["epochs"] == 10
    assert client.curves("invented", "val_loss").metric.unit == "nats"
    assert len(pd.read_parquet(io.BytesIO(client.file("invented", "trials.parquet")))) == 20


def test_the_client_checks_plans_submits_and_stops(client, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    assert client.validate(file).valid
    assert client.plan(str(file)).cells == 4
    assert client.plan("quickstart", overrides=["seeds=2"]).cells == 12
    run = client.submit(STUDY, idempotency_key="a")
    assert client.submit(STUDY, idempotency_key="a").id == run.id
    assert client.runs("tiny")[0].state == "queued"
    assert "".join(client.log(run.id)) == ""
    assert client.stop(run.id).state == "stopped"
    assert client.wait(run.id).state == "stopped"


def test_refusals_are_told_in_the_server_s_words(client):
    with pytest.raises(StudyError, match="there is no study 'nothing'"):
        client.study("nothing")
    with pytest.raises(StudyError, match=r"model\.depth` is 9"):
        client.plan({"name": "x", "baseline": {"model": {"depth": 9}}, "factors": {"model.norm": ["batch", "none"]}})
    with pytest.raises(StudyError, match="does not answer"):
        Client("http://127.0.0.1:1", "token").studies()
    with pytest.raises(StudyError, match="not an address"):
        Client("http://host:port", "token").studies()


@pytest.mark.parametrize("content", [b"<html>sign in</html>", b"{}", b'{"studies": [], "more": 1}'])
def test_an_answer_that_is_not_the_api_s_is_explained(content):
    answers = httpx.MockTransport(lambda request: httpx.Response(200, content=content))
    with (
        Client("http://localhost:1", "token", httpx.Client(transport=answers)) as client,
        pytest.raises(StudyError, match="something else than a StudyList; check that `--server`"),
    ):
        client.studies()


def test_texts_that_cannot_be_sent_are_explained(tmp_path):
    file = tmp_path / "latin.yaml"
    file.write_bytes("question: gr\xf6\xdfer?".encode("latin-1"))
    with pytest.raises(StudyError, match="byte 13 is not UTF-8"):
        Client("http://localhost:1", "token").validate(file)
    for token in ("t\xf6ken", "two\nlines"):
        with pytest.raises(StudyError, match="characters that no token"):
            Client("http://localhost:1", token)


def test_the_command_line_needs_a_token_for_a_server(monkeypatch, tmp_path):
    monkeypatch.delenv("TUNE_APP_TOKEN", raising=False)
    for options, words in ((), "needs a token"), (("--token-file", str(tmp_path / "none")), "no such file"):
        done = CliRunner().invoke(command_line, ["status", "x", "--server", "http://127.0.0.1:1", *options])
        assert words in str(done.exception)


def test_a_token_of_the_service_that_others_may_read_is_refused(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o640)
    command = ["status", "--server", "http://127.0.0.1:1", "--token-file", str(token), "id"]
    with pytest.raises(StudyError, match=r"other users may read or change .mode 0640.*chmod 600"):
        CliRunner().invoke(command_line, command, catch_exceptions=False)


def test_tokens_on_the_command_line(tmp_path):
    def call(*arguments: str) -> str:
        done = CliRunner().invoke(command_line, ["token", *arguments, "--results", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return done.output

    assert call("create", "anna", "--scope", "run", "--days", "3").startswith("tune_")
    assert "anna" in call("list")
    assert "revoked anna" in call("revoke", "anna")
    with closing(Database(tmp_path / STATE_FOLDER)) as database:
        noted = [tuple(row.values()) for row in database.rows("SELECT who, action, target FROM audit ORDER BY id")]
    assert noted == [("command line", "create token", "anna (run)"), ("command line", "revoke token", "anna")]


def test_creating_a_token_says_which_state_it_is_valid_for(tmp_path):
    file = tmp_path / STATE_FOLDER / "service.sqlite"
    for name, place in (("anna", f"{file}, a new file"), ("bert", str(file))):
        done = CliRunner().invoke(command_line, ["token", "create", name, "--results", str(tmp_path)])
        assert done.stdout.startswith("tune_")
        assert done.stdout.count("\n") == 1  # a script takes the token from here
        assert done.stderr == f"kept in {place}: valid on a server with these --results or this --state\n"


@pytest.mark.parametrize(
    ("outcome", "interrupted", "code"),
    [("finished", False, 0), ("failed", False, 1), ("lost", False, 1), ("stopped", True, 130)],
)
def test_a_followed_run_ends_the_command_as_it_ended(outcome, interrupted, code, monkeypatch):
    class Followed(Client):
        state = "running"

        def submit(self, *study):
            return SimpleNamespace(id="r1")

        def run(self, run):
            return SimpleNamespace(id=run, state=self.state)

        def log(self, run, follow=False, every=1.0):
            yield "epoch 1\n"
            if interrupted:
                raise KeyboardInterrupt
            self.state = outcome

        def stop(self, run):
            self.state = outcome

    monkeypatch.setattr(jobs, "_client", lambda server, token_file: Followed(server, "token"))
    done = CliRunner().invoke(command_line, ["submit", "quickstart", "--server", "http://localhost", "--follow"])
    said = ["submitted r1", "epoch 1", *(["stopping r1"] if interrupted else []), f"r1: {outcome.upper()}"]
    assert (done.output.splitlines(), done.exit_code) == (said, code)


@pytest.mark.timeout(600)
def test_a_real_run_outlives_a_killed_server(tmp_path):
    results, port = tmp_path / "results", unused_port()
    server = ServerProcess(results, port)
    url = server.url
    try:
        assert url in server.printed
        token_file = results / STATE_FOLDER / "admin-token"
        assert str(token_file) in server.printed
        client = Client(url, server.token)
        file = tmp_path / "tiny.yaml"
        file.write_text(STUDY)
        options = ["--server", url, "--token-file", str(token_file)]
        done = CliRunner().invoke(command_line, ["submit", str(file), *options])
        run = done.output.split()[-1]
        wait_until(lambda: client.run(run).state == "running")
        server.end(signal.SIGKILL)
        server = ServerProcess(results, port)
        with pytest.raises(StudyError, match="running already"):
            client.submit(STUDY)
        assert client.wait(run, seconds=400, every=0.2).state == "finished", "".join(client.log(run))
        study = client.study("tiny")
        assert (study.state, study.counts) == ("complete", {"completed": 4})
        effects = client.effects("tiny")
        assert effects.decided
        assert "SUCCEEDED" not in CliRunner().invoke(command_line, ["status", run, *options]).output
    finally:
        server.end(signal.SIGINT)
        client.close()
