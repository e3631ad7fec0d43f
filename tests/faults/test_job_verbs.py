"""The verbs of jobs without a cluster: what they pass on, and the mistakes reported before or instead of an answer."""

import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar

import pytest
import ray
import yaml
from drivers import CLI, study
from typer.testing import CliRunner

from search_spaces.errors import StudyError
from search_spaces.files import require_private
from tune_app.cli import app, jobs
from tune_app.tuning import submission
from tune_app.tuning.submission import JobServer, _explained, require_safe_address


class Server:
    """Answers as a job server whose only job has failed."""

    def __init__(self):
        self.submitted = []

    def submit(self, *arguments):
        self.submitted.append(arguments)
        return arguments[1]

    def status(self, job):
        return "FAILED", "exit code 2"

    def logs(self, job, follow):
        yield from ["one\n", "two\n"] if follow else ["one\n"]

    def stop(self, job):
        return "STOPPED"

    known, ends_by = (), None

    def has(self, job):
        return job in self.known

    def follow(self, job):
        yield "one\n"
        if self.ends_by is not None:
            raise self.ends_by


@pytest.fixture
def server(monkeypatch):
    made = Server()
    monkeypatch.setattr(jobs, "_server", lambda *_: made)
    return made


FOLLOW = ["--results", "s3://b/r", "--follow"]


def call(*words):
    return CliRunner().invoke(app, words)


def test_submit_passes_the_options_of_run_on(server, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study()))
    options = ["--results", "s3://b/r", "--set", "seeds=1", "--shared-folder"]
    assert call("submit", str(file), "--id", "x", *options).output == "submitted x\n"
    assert server.submitted == [
        (str(file), "x", ["--results", "s3://b/r", "--shared-folder", "--set", "seeds=1"], None)
    ]
    assert call("submit", str(file), "--results", "s3://b/r").output.startswith("submitted tiny-2")


@pytest.mark.parametrize("results", [None, "results", "./results", "../results", "file://results"])
def test_a_folder_relative_to_the_jobs_files_is_refused_with_the_remedy(server, tmp_path, results):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study()))
    error = call("submit", str(file), *(["--results", results] if results else [])).exception
    assert isinstance(error, StudyError)
    assert f"`--results` is {(results or 'results')!r}" in str(error)
    assert "give s3://BUCKET/results, or an absolute path" in str(error)
    assert server.submitted == []


@pytest.mark.parametrize("results", ["/nfs/results", "~/results", "file:///nfs/results", "gs://b/r"])
def test_a_folder_that_is_the_same_for_every_job_is_passed_on(server, tmp_path, results):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study()))
    assert call("submit", str(file), "--id", "x", "--results", results).output == "submitted x\n"
    assert server.submitted[0][2] == ["--results", results]


def test_a_job_has_a_minute_to_end_in_order(tmp_path):
    sent = []
    server = object.__new__(JobServer)
    server._client = SimpleNamespace(submit_job=lambda **job: sent.append(job["runtime_env"]))
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study()))
    server.submit("quickstart", "x", ())
    server.submit(str(file), "y", ())
    assert [env["env_vars"] for env in sent] == [{"RAY_JOB_STOP_WAIT_TIME_S": "60"}] * 2
    assert ["working_dir" in env for env in sent] == [False, True]


def test_a_study_with_a_mistake_is_not_submitted(server, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study(seeds=0)))
    assert "seeds" in str(call("submit", str(file), "--results", "s3://b/r").exception)
    assert server.submitted == []


def test_status_of_a_failed_job_is_exit_code_1(server):
    done = call("status", "x")
    assert (done.exit_code, done.output) == (1, "x: FAILED: exit code 2\n")


def test_logs_and_stop_print_what_the_server_says(server):
    assert call("logs", "x").output == "one\n"
    assert call("logs", "x", "--follow").output == "one\ntwo\n"
    assert call("stop", "x").output == "x: STOPPED\n"


def test_submit_follow_prints_the_output_and_exits_as_the_job_did(server, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study()))
    done = call("submit", str(file), "--id", "x", *FOLLOW)
    assert (done.exit_code, done.output) == (1, "submitted x\none\nx: FAILED\n")
    server.known = ("x",)
    again = call("submit", str(file), "--id", "x", *FOLLOW)
    assert (again.output, len(server.submitted)) == ("one\nx: FAILED\n", 1)  # it is there: followed, not submitted
    server.ends_by = KeyboardInterrupt()
    stopped = call("submit", str(file), "--id", "x", *FOLLOW)
    assert (stopped.exit_code, stopped.output) == (130, "one\nstopping x\nx: STOPPED\n")


def test_following_goes_on_where_the_server_was_away_for_a_moment(monkeypatch):
    monkeypatch.setattr(submission, "FOLLOW_SECONDS", 0.0)
    texts = iter(["one\n", StudyError("no job server answers there"), "one\ntwo\n", *["one\ntwo\nthree\n"] * 2])
    states = iter(["RUNNING", "RUNNING", "SUCCEEDED", "SUCCEEDED"])

    def logs(job):
        found = next(texts)
        if isinstance(found, StudyError):
            raise found
        yield found

    jobs = object.__new__(JobServer)
    monkeypatch.setattr(jobs, "logs", logs, raising=False)
    monkeypatch.setattr(jobs, "status", lambda job: (next(states), ""), raising=False)
    assert list(jobs.follow("x")) == ["one\n", "two\n", "three\n"]
    monkeypatch.setattr(submission, "LOST_SECONDS", -1.0)
    texts = iter([StudyError("no job server answers there")])
    with pytest.raises(StudyError, match="no job server"):
        list(jobs.follow("x"))


def test_nobody_there_and_a_token_file_that_is_not_there_are_reported(tmp_path):
    with pytest.raises(StudyError, match=r"'http://127.0.0.1:9', but no job server answers there"):
        JobServer("http://127.0.0.1:9")
    with pytest.raises(StudyError, match=r"--token-file` is .*none', but there is no such file"):
        JobServer("http://127.0.0.1:9", tmp_path / "none")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("Request failed with status code 500: Job with submission_id x already exists", "there is a job of this id"),
        ("Request failed with status code 404: Job x does not exist", "there is no job of this id"),
        ("something\nelse", "the job server refuses: else"),
    ],
)
def test_what_the_server_refuses_is_explained(error, message):
    assert _explained(error).startswith(message)


HOSTILE_IDS = ["../../nodes", "a/b", "..", "", "-x", "a?view=b", "a#b", "a b", "a\n", "a%2fb", "é", "x" * 129]


@pytest.mark.parametrize("job", HOSTILE_IDS)
def test_an_id_that_would_change_the_address_is_not_sent(job, tmp_path):
    server = object.__new__(JobServer)  # without a connection: nothing may be asked for
    calls = [
        server.status,
        server.stop,
        lambda name: next(server.logs(name)),
        lambda name: server.submit("x", name, ()),
    ]
    for call_with in calls:
        with pytest.raises(StudyError, match="the job's ID is"):
            call_with(job)


@pytest.mark.parametrize("verb", ["status", "logs", "stop"])
def test_the_verbs_refuse_such_an_id_before_they_ask(verb, monkeypatch):
    monkeypatch.setattr(jobs, "_server", lambda *_: object.__new__(JobServer))
    assert "the job's ID is" in str(call(verb, "../../nodes").exception)


def is_refused(address, insecure):
    try:
        require_safe_address(address, insecure)
    except StudyError:
        return True
    return False


@pytest.mark.parametrize(
    "address", ["http://10.0.0.1:8265", "http://cluster:8265", "http://localhost.evil:1", "http://[::2]:1"]
)
def test_plain_http_to_another_machine_needs_to_be_asked_for(address):
    with pytest.raises(StudyError, match="plain HTTP shows the token"):
        JobServer(address)
    assert [is_refused(address, insecure) for insecure in (False, True)] == [True, False]


@pytest.mark.parametrize(
    "address", ["http://localhost:8265", "http://127.0.0.1:1", "http://[::1]:1", "https://cluster:1"]
)
def test_loopback_and_https_are_fine(address):
    assert [is_refused(address, insecure) for insecure in (False, True)] == [False, False]


@pytest.mark.parametrize(
    "address", ["cluster:8265", "ftp://x", "http://", "http://[::", "file:///x", "http://u:p@localhost:1", ""]
)
def test_what_is_no_web_address_is_refused(address):
    for insecure in (False, True):
        with pytest.raises(StudyError, match="`--address` is"):
            require_safe_address(address, insecure)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_a_token_that_others_may_read_or_change_is_refused(mode, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(mode)
    with pytest.raises(StudyError, match=f"other users may read or change .mode {mode:04o}.*chmod 600"):
        JobServer("http://127.0.0.1:9", token)
    token.chmod(0o600)
    require_private(token)


class Listener(BaseHTTPRequestHandler):
    """Answers like a job server without jobs, and notes what each request presents."""

    seen: ClassVar[list[str | None]] = []

    def do_GET(self):
        self.seen.append(self.headers.get("Authorization"))
        body = json.dumps({"version": "4", "ray_version": ray.__version__, "ray_commit": ""}).encode()
        self.send_response(200 if self.path.endswith("version") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_every_request_to_a_job_server_carries_the_token(tmp_path):
    token = tmp_path / "token"
    token.write_text("a5" * 16)
    token.chmod(0o600)
    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as http:
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        address = f"http://127.0.0.1:{http.server_address[1]}"
        command = [*CLI, "status", "job", "--address", address, "--token-file", str(token)]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        done = subprocess.run(command, capture_output=True, text=True, env=plain | {"HOME": str(tmp_path)})
        http.shutdown()
    assert done.returncode == 2, done.stderr
    assert len(Listener.seen) >= 2
    assert set(Listener.seen) == {"Bearer " + "a5" * 16}
