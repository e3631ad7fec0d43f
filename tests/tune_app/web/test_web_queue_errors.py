"""The queue of runs meets errors and goes on; a run that was stopped meanwhile does not start."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from search_spaces.errors import StudyError
from search_spaces.study_files import read_study
from tune_app.storage import Folder
from tune_app.tuning.store.lease import LEASE, _process_space
from tune_app.tuning.store.locks import HOLDER
from tune_app.web import processes, runs
from tune_app.web.database import Database
from tune_app.web.index import StudyIndex
from tune_app.web.run_models import RunSubmission
from tune_app.web.runs import Runs
from tune_app.web.settings import Settings
from tune_app.web.tokens import Identity

WHO = Identity(1, "anna", "run")


@pytest.fixture
def queue(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "command_of", lambda file, *options: [sys.executable, "-c", "", file])
    with closing(Database(tmp_path)) as database:
        yield Runs(database, Settings(results=str(tmp_path / "results"), state=tmp_path))


def submit(queue):
    return queue.submit(read_study("quickstart"), "name: x", RunSubmission(study="quickstart"), WHO, None)[0].id


def test_an_error_does_not_end_the_thread_of_the_queue(queue, monkeypatch, caplog):
    again, ticks = threading.Event(), []

    def tick():
        ticks.append(1)
        if len(ticks) == 1:
            raise sqlite3.OperationalError("database or disk is full")
        again.set()

    monkeypatch.setattr(runs, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(queue, "tick", tick)
    queue.start()
    went_on = again.wait(60)
    queue.close()
    assert went_on
    assert "disk is full" in caplog.text


def test_a_run_whose_files_cannot_be_written_has_failed(queue, tmp_path):
    run = submit(queue)
    (tmp_path / "runs").write_text("a file where the folder should be")
    queue.tick()
    found = queue.get(run)
    assert (found.state, found.reason[:21]) == ("failed", "could not be started:")


def test_a_run_that_is_stopped_while_it_is_chosen_does_not_start(queue, monkeypatch):
    run, started, others = submit(queue), [], []
    launch = queue._launch

    def stopped_before(chosen, *state):
        queue.stop(run, WHO)
        others.append(submit(queue))  # two active runs of one study are not allowed
        launch(chosen, *state)

    monkeypatch.setattr(queue, "_launch", stopped_before)
    monkeypatch.setattr(processes, "start", lambda *arguments: started.append(arguments))
    queue.tick()
    assert [queue.get(one).state for one in (run, *others)] == ["stopped", "queued"]
    assert started == []


def test_where_one_process_has_ended_meanwhile_the_others_are_killed(tmp_path, monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (tmp_path / "process.json").write_text(json.dumps({"parent": 999999999, "run": child.pid}))
    monkeypatch.setattr(processes, "_is_ours", lambda pid, folder: True)
    processes.kill(tmp_path)
    assert child.wait(timeout=60) == -signal.SIGKILL


def test_a_transaction_that_cannot_be_committed_is_rolled_back(tmp_path):
    with closing(Database(tmp_path)) as database:

        def refused_at_its_end():
            with database.transaction():
                database.execute("PRAGMA defer_foreign_keys = ON")
                database.execute("INSERT INTO sessions (hash, token, expires_at) VALUES ('a', 1, 0)")

        with pytest.raises(sqlite3.IntegrityError):
            refused_at_its_end()
        database.audit("anna", "start", "x")
    with closing(Database(tmp_path)) as database:
        assert database.rows("SELECT action FROM audit") == [{"action": "start"}]


def test_a_file_that_is_no_database_is_explained(tmp_path):
    (tmp_path / "service.sqlite").write_text("this is no database, but a text of some length\n" * 50)
    with pytest.raises(StudyError, match=r"keep its state there: file is not a database; .*--state"):
        Database(tmp_path)


HERE = {"host": socket.gethostname(), "space": _process_space()}
ENDED = 999999999


@pytest.mark.parametrize(
    ("lease", "holder", "held"),
    [
        ({**HERE, "pid": os.getpid()}, None, True),
        ({**HERE, "pid": ENDED}, (os.getpid(), HERE["host"]), False),
        ({**HERE, "pid": os.getpid(), "space": "another container"}, (os.getpid(), HERE["host"]), False),
        ({**HERE, "pid": os.getpid(), "host": "tune-app-7d9f"}, (os.getpid(), "tune-app-7d9f"), False),
        (None, (os.getpid(), "tune-app-7d9f"), False),
        (None, (os.getpid(), HERE["host"]), True),
        (None, (ENDED, HERE["host"]), False),
        (None, None, False),
    ],
)
def test_a_study_is_held_only_by_a_run_of_this_machine_that_has_not_ended(lease, holder, held, tmp_path):
    if lease is not None:
        (tmp_path / LEASE).write_text(json.dumps(lease))
    if holder is not None:
        (tmp_path / HOLDER).write_text("process {} on {}, since now".format(*holder))
    assert (StudyIndex(Folder(str(tmp_path)), "x").holder() is not None) == held
