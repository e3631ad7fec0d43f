"""The verbs of jobs without a cluster: what they pass on, and the mistakes told before or instead of an answer."""

import pytest
import yaml
from drivers import study
from typer.testing import CliRunner

from search_spaces.errors import StudyError
from tune_app.cli import app, jobs
from tune_app.tuning.submission import JobServer, _explained


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


@pytest.fixture
def server(monkeypatch):
    made = Server()
    monkeypatch.setattr(jobs, "_server", lambda address, token: made)
    return made


def call(*words):
    return CliRunner().invoke(app, words)


def test_submit_passes_the_options_of_run_on(server, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study()))
    options = ["--results", "s3://b/r", "--set", "seeds=1", "--shared-folder"]
    assert call("submit", str(file), "--id", "x", *options).output == "submitted x\n"
    assert server.submitted == [(str(file), "x", ["--results", "s3://b/r", "--shared-folder", "--set", "seeds=1"])]
    assert call("submit", str(file)).output.startswith("submitted tiny-2")


def test_a_study_with_a_mistake_is_not_submitted(server, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(study(seeds=0)))
    assert isinstance(call("submit", str(file)).exception, StudyError)
    assert server.submitted == []


def test_status_of_a_failed_job_is_exit_code_1(server):
    done = call("status", "x")
    assert (done.exit_code, done.output) == (1, "x: FAILED: exit code 2\n")


def test_logs_and_stop_print_what_the_server_says(server):
    assert call("logs", "x").output == "one\n"
    assert call("logs", "x", "--follow").output == "one\ntwo\n"
    assert call("stop", "x").output == "x: STOPPED\n"


def test_nobody_there_and_a_token_file_that_is_not_there_are_told(tmp_path):
    with pytest.raises(StudyError, match=r"'http://127.0.0.1:9', but no job server answers there"):
        JobServer("http://127.0.0.1:9")
    with pytest.raises(StudyError, match=r"--token-file` is .*none, but there is no such file"):
        JobServer("http://127.0.0.1:9", tmp_path / "none")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Request failed with status code 500: Job with submission_id x already exists", "there is a job of this id"),
        ("Request failed with status code 404: Job x does not exist", "there is no job of this id"),
        ("something\nelse", "the job server refuses: else"),
    ],
)
def test_what_the_server_refuses_is_explained(error, told):
    assert _explained(error).startswith(told)
