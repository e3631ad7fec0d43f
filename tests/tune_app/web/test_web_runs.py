"""The queue: runs as processes of their own, found again after the server was killed, stopped in order."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from search_spaces.errors import StudyError
from search_spaces.study_files import read_study
from tune_app.web import processes, runs
from tune_app.web.commands import command_of
from tune_app.web.logs import read_part
from tune_app.web.processes import environment, next_signal
from tune_app.web.run_models import RunSubmission
from tune_app.web.service import Service
from tune_app.web.settings import Cluster, Settings
from tune_app.web.tokens import Identity

API = "/api/v1"
STUDY = "name: {name}\nbaseline: {{epochs: 1}}\nfactors: {{model.norm: [batch, none]}}\nseeds: 2\n"
# Ends with a given code when a file appears, and with 130 when it is interrupted, like `tune-app run`.
FAKE = """
import os, pathlib, signal, sys, time
file = pathlib.Path(sys.argv[1])
def end(number, frame):
    print("stopping", flush=True)
    sys.exit(130)
signal.signal(signal.SIGINT, end)
print("started", os.environ.get("SECRET_KEY", "no secret"), flush=True)
code = file.with_name("code")
while not code.exists():
    time.sleep(0.02)
print("ended \u2014 \u00fc", flush=True)
sys.exit(int(code.read_text()))
"""


@pytest.fixture
def fake(monkeypatch):
    """Runs of a small script instead of `tune-app run`."""
    monkeypatch.setattr(runs, "command_of", lambda file, *options: [sys.executable, "-c", FAKE, file])


@pytest.fixture
def queue(fake, make_site, tmp_path):
    (tmp_path / "results").mkdir()
    site = make_site(tmp_path / "results")
    yield site
    for child in processes._started:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # it leads the session of its run
        child.wait()


def until(site, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        site.service.runs.tick()
        threading.Event().wait(0.02)


def submit(site, name, scope="run", **more):
    answer = site.client(scope).post(f"{API}/runs", json={"study": STUDY.format(name=name), **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def state(site, run):
    return site.client("read").get(f"{API}/runs/{run}").json()["state"]


def log(site, run):
    return site.client("read").get(f"{API}/runs/{run}/log").json()


def end(site, run, code=0):
    written = site.service.runs.folder(run) / "code.new"
    written.write_text(str(code))
    written.rename(written.with_name("code"))  # whole: the run reads it as soon as it is there


def test_a_run_is_started_followed_and_ends(queue):
    run = submit(queue, "one")
    assert state(queue, run) == "queued"
    until(queue, lambda: "started" in log(queue, run)["text"])
    assert state(queue, run) == "running"
    end(queue, run)
    until(queue, lambda: state(queue, run) == "finished")
    part = log(queue, run)
    assert part["complete"]
    assert part["text"].endswith("ended \u2014 \u00fc\n")
    assert queue.client().get(f"{API}/runs/{run}/log", params={"offset": part["next"]}).json()["text"] == ""


@pytest.mark.parametrize(("code", "outcome"), [(1, "failed"), (3, "stopped")])  # 3: the budget is spent
def test_a_run_that_does_not_finish_says_its_last_line(queue, code, outcome):
    run = submit(queue, "one")
    until(queue, lambda: "started" in log(queue, run)["text"])
    end(queue, run, code)
    until(queue, lambda: state(queue, run) == outcome)
    found = queue.client().get(f"{API}/runs/{run}").json()
    assert (found["exit_code"], found["reason"]) == (code, "ended \u2014 \u00fc")


def test_one_run_at_a_time_by_priority_then_by_age(queue):
    first = submit(queue, "first")
    until(queue, lambda: state(queue, first) == "running")
    second, urgent = submit(queue, "second"), submit(queue, "urgent", priority=5)
    queue.service.runs.tick()
    assert [state(queue, run) for run in (first, second, urgent)] == ["running", "queued", "queued"]
    until(queue, lambda: "started" in log(queue, first)["text"])
    end(queue, first)
    until(queue, lambda: state(queue, urgent) == "running")
    assert state(queue, second) == "queued"


def test_a_study_cannot_be_started_twice(queue):
    run = submit(queue, "one")
    answer = queue.client().post(f"{API}/runs", json={"study": STUDY.format(name="one")})
    assert answer.status_code == 409
    assert run in answer.json()["detail"]


def test_many_requests_at_once_start_a_study_once(queue):
    body = {"study": STUDY.format(name="one")}
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(queue.client().post(f"{API}/runs", json=body).status_code))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201] + [409] * 7


def test_a_repeated_request_with_its_key_starts_nothing_twice(queue):
    client, body = queue.client("run"), {"study": STUDY.format(name="one")}
    headers = {"Idempotency-Key": "abc"}
    first = client.post(f"{API}/runs", json=body, headers=headers)
    again = client.post(f"{API}/runs", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    other = client.post(f"{API}/runs", json={"study": STUDY.format(name="two")}, headers=headers)
    assert other.status_code == 409
    assert queue.client().post(f"{API}/runs", json=body, headers=headers).status_code == 409  # another token's key


def test_stop_interrupts_a_running_study_and_takes_a_queued_one_out(queue):
    first, second = submit(queue, "first"), None
    until(queue, lambda: "started" in log(queue, first)["text"])
    second = submit(queue, "second")
    client = queue.client("run")
    assert client.post(f"{API}/runs/{second}/stop").json()["state"] == "stopped"
    assert client.post(f"{API}/runs/{first}/stop").json()["state"] == "stopping"
    until(queue, lambda: state(queue, first) == "stopped")
    assert "stopping" in log(queue, first)["text"]
    assert client.post(f"{API}/runs/{first}/stop").json()["state"] == "stopped"
    actions = [row["action"] for row in queue.service.database.rows("SELECT action FROM audit ORDER BY id")]
    assert actions == ["start", "start", "stop", "stop"]


def test_a_stopped_study_can_be_started_again(queue):
    run = submit(queue, "one")
    queue.client().post(f"{API}/runs/{run}/stop")
    assert submit(queue, "one") != run


def test_runs_go_on_without_the_server_and_the_next_one_finds_them(queue):
    run = submit(queue, "one")
    until(queue, lambda: "started" in log(queue, run)["text"])
    queue.service.close()
    after = again(queue)
    after.service.runs.tick()
    assert after.service.runs.get(run).state == "running"
    end(after, run)
    until(after, lambda: after.service.runs.get(run).state == "finished")


def test_a_run_that_ended_while_no_server_was_there_is_noted(queue):
    run = submit(queue, "one")
    until(queue, lambda: "started" in log(queue, run)["text"])
    queue.service.close()
    end(queue, run, 1)
    folder = queue.service.runs.folder(run)
    waited = time.monotonic() + 60
    while processes.exit_of(folder) is None:
        assert time.monotonic() < waited
    after = again(queue)
    after.service.runs.tick()
    assert after.service.runs.get(run).state == "failed"


def again(site):
    """A second server over the same state."""
    site.service = Service(site.service.settings)
    return site


def test_a_run_that_was_killed_with_its_parent_is_lost(queue):
    run = submit(queue, "one")
    until(queue, lambda: "started" in log(queue, run)["text"])
    until(queue, lambda: processes._pids(queue.service.runs.folder(run)))  # its parent writes them
    processes.kill(queue.service.runs.folder(run))
    until(queue, lambda: state(queue, run) == "lost")
    assert "to resume" in queue.client().get(f"{API}/runs/{run}").json()["reason"]


def test_a_run_is_in_a_session_of_its_own(queue):
    run = submit(queue, "one")
    until(queue, lambda: "started" in log(queue, run)["text"])
    until(queue, lambda: processes._pids(queue.service.runs.folder(run)))  # its parent writes them
    pids = processes._pids(queue.service.runs.folder(run))
    assert len(pids) == 2
    assert {os.getsid(pid) for pid in pids} == {pids[0]}
    assert os.getsid(0) not in pids


def test_a_process_id_that_belongs_to_something_else_is_left_alone(queue, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "process.json").write_text(f'{{"parent": {os.getpid()}, "run": {os.getpid()}}}')
    assert not processes.is_alive(folder, time.time())
    assert not processes.signal_run(folder, signal.SIGINT)
    processes.kill(folder)
    assert psutil.pid_exists(os.getpid())


def test_secrets_of_the_environment_do_not_reach_runs(queue, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    run = submit(queue, "one")
    until(queue, lambda: "started" in log(queue, run)["text"])
    assert "no secret" in log(queue, run)["text"]


def test_only_what_a_run_needs_is_passed_on():
    source = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "a", "GITHUB_TOKEN": "b", "LC_ALL": "C", "MINE": "c"}
    assert environment("/results", ["MINE"], source).keys() == {"PATH", "LC_ALL", "MINE", "PYTHONUNBUFFERED"}
    assert "AWS_SECRET_ACCESS_KEY" in environment("s3://bucket/results", [], source)


def test_a_run_that_does_not_stop_is_signalled_again_and_then_killed():
    assert next_signal(100.0, 0, now=100.0) is signal.SIGINT
    assert next_signal(100.0, 1, now=159.0) is None
    assert next_signal(100.0, 1, now=161.0) is signal.SIGTERM
    assert next_signal(100.0, 2, now=181.0) is signal.SIGKILL
    assert next_signal(100.0, 3, now=999.0) is None


def test_a_server_that_is_started_again_sends_no_second_signal_before_its_time(queue, monkeypatch):
    run = submit(queue, "one")
    until(queue, lambda: "started" in log(queue, run)["text"])
    sent = []
    monkeypatch.setattr(processes, "signal_run", lambda folder, number: sent.append(number) or True)
    queue.client("run").post(f"{API}/runs/{run}/stop")
    queue.service.runs.tick()
    queue.service.close()
    after = again(queue).service
    after.runs.tick()
    assert sent == [signal.SIGINT]
    after.database.execute("UPDATE runs SET stop_at = stop_at - ?", (processes.STOP_SECONDS,))
    after.runs.tick()
    assert sent == [signal.SIGINT, signal.SIGTERM]


def test_options_cannot_be_smuggled_into_the_command():
    command = command_of("study.yaml", Settings(), "--results=/etc", ["--address=evil"], "job")
    assert command[3:] == ["run", "study.yaml", "--results=results", "--size=--results=/etc", "--set=--address=evil"]


def test_with_a_cluster_a_run_is_a_job_that_is_followed():
    cluster = Cluster("http://localhost:8265", Path("token"), insecure=True, shared_folder=True)
    command = command_of("study.yaml", Settings(results="s3://b/r", cluster=cluster), None, ["seeds=2"], "norms-1")
    assert command[3:] == [
        "submit", "study.yaml", "--results=s3://b/r", "--set=seeds=2", "--shared-folder", "--id=norms-1", "--follow",
        "--address=http://localhost:8265", "--token-file=token", "--insecure",
    ]  # fmt: skip
    with pytest.raises(StudyError, match="--inline"):
        Settings(cluster=cluster, inline=True).check()


def test_a_read_only_server_starts_and_stops_nothing(fake, make_site, tmp_path):
    (tmp_path / "results").mkdir()
    client = make_site(tmp_path / "results", read_only=True).client()
    assert client.post(f"{API}/runs", json={"study": STUDY.format(name="one")}).status_code == 403
    assert client.post(f"{API}/runs/x/stop").status_code == 403


def test_the_queue_has_a_limit(queue):
    who, spec = Identity(1, "read", "run"), read_study("quickstart")
    for number in range(queue.service.settings.limits.queued_runs):
        named = spec.model_copy(update={"name": f"s{number}"})
        queue.service.runs.submit(named, "", RunSubmission(study="x"), who, None)
    answer = queue.client().post(f"{API}/runs", json={"study": STUDY.format(name="more")})
    assert answer.status_code == 429


def test_a_study_that_is_run_elsewhere_is_not_started(queue):
    import socket

    store = queue.results / "one"
    store.mkdir()
    (store / "study.yaml").write_text(STUDY.format(name="one"))
    (store / ".holder").write_text(f"process {os.getpid()} on {socket.gethostname()}, since now")
    answer = queue.client().post(f"{API}/runs", json={"study": STUDY.format(name="one")})
    assert answer.status_code == 409
    (store / ".holder").write_text(f"process 999999999 on {socket.gethostname()}, since now")
    submit(queue, "one")


def test_a_plan_says_what_is_new(site):
    client = site.client("run")
    tree = site.service.index.study("invented").tree
    kept = {key: tree[key] for key in ("name", "baseline", "factors", "design", "question")}
    same = client.post(f"{API}/plan", json={"study": {**kept, "seeds": 5}}).json()
    assert (same["missing"], same["new_cells"], same["removed_cells"]) == (1, 0, 0)  # the failed one
    assert same["smallest_difference"] > 0
    more = client.post(f"{API}/plan", json={"study": {**kept, "seeds": 7}}).json()
    assert (more["cells"], more["missing"], more["new_cells"]) == (28, 9, 8)
    assert more["trial_seconds"] == pytest.approx(90)
    kept["factors"] = {"model.norm": ["batch", "layer"]}
    changed = {arm["name"]: arm["change"] for arm in client.post(f"{API}/plan", json={"study": kept}).json()["arms"]}
    assert "removed" in changed.values()


def test_mistakes_have_path_value_allowed_and_line(site):
    text = "name: x\nbaseline:\n  model:\n    depth: 9\nfactors:\n  model.norm: [batch, nope]\n"
    client = site.client("run")
    found = client.post(f"{API}/validate", json={"study": text}).json()
    assert not found["valid"]
    (mistake,) = found["mistakes"]
    assert (mistake["path"], mistake["value"], mistake["line"]) == ("baseline.model.depth", "9", 4)
    found = client.post(f"{API}/validate", json={"study": text.replace("depth: 9", "depth: 8")}).json()
    assert found["mistakes"][0]["line"] == 6
    found = client.post(f"{API}/validate", json={"study": "name: [x\n"}).json()
    assert found["mistakes"][0]["line"] == 2
    refused = client.post(f"{API}/plan", json={"study": text})
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["mistakes"][0]["allowed"].startswith("6n+2")
    assert "/tmp" not in refused.text


@pytest.mark.parametrize("study", ["", "- a", "a: &a [*a]", "\ud800", "../../etc/passwd", "x" * 600_000])
def test_hostile_texts_are_refused_in_order(site, study):
    import json

    body = json.dumps({"study": study})
    answer = site.client("run").post(f"{API}/validate", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 422)
    assert answer.status_code == 422 or not answer.json()["valid"]


def test_data_folders_can_be_bounded(make_site, stores, tmp_path):
    site = make_site(stores, data_folders=(str(tmp_path / "data"),))
    client = site.client("run")
    study = {"name": "x", "factors": {"model.norm": ["batch", "none"]}}

    def check(path):
        tree = {**study, "baseline": {"data": {"source": "folder", "path": path}}}
        return client.post(f"{API}/validate", json={"study": tree}).json()

    assert check(str(tmp_path / "data" / "mine"))["valid"]
    for path in ("/etc", str(tmp_path / "data" / ".." / "other")):
        assert "inside a folder" in check(path)["mistakes"][0]["message"]


def test_what_a_trial_may_ask_for_can_be_bounded(make_site, stores):
    client = make_site(stores, max_cpus=2, max_gpus=0.25).client("run")
    study = {"name": "x", "factors": {"model.norm": ["batch", "none"]}}

    def check(**resources):
        return client.post(f"{API}/validate", json={"study": {**study, "resources": resources}}).json()

    assert check(cpu=2, gpu=0.25)["valid"]
    assert check()["valid"], "auto is a quarter of a GPU"
    assert "`resources.cpu` is 3.0, but this server gives a trial at most 2" in check(cpu=3)["mistakes"][0]["message"]
    assert "`resources.gpu` is 0.5, but" in check(gpu=0.5)["mistakes"][0]["message"]


MINE = {
    "name": "x",
    "task": {"run": "mine:train"},
    "metrics": {"val_loss": {"better": "lower"}},
    "metric": "val_loss",
    "baseline": {"args": {"lr": 0.1}},
    "factors": {"args.lr": [0.1, 0.2]},
}


def test_code_of_users_can_be_refused(make_site, stores):
    client = make_site(stores, user_code=False).client("run")
    found = client.post(f"{API}/validate", json={"study": MINE}).json()
    assert "--no-user-code" in found["mistakes"][0]["message"]


def test_parts_of_a_log_end_with_whole_characters(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes("aü€".encode())
    parts, offset = [], 0
    while offset < 6:
        part = read_part(path, offset, 4, ended=False)
        parts.append(part.text)
        offset = part.next
    assert parts == ["aü", "€"]
    assert not part.complete
    assert read_part(path, 3, 10, ended=True).complete
    assert read_part(tmp_path / "none", 5, 10, ended=False).next == 0
