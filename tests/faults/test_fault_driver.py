"""The driver is killed, interrupted, or started twice."""

import signal
import subprocess
import sys

import pytest
from drivers import driver, finished_at, study, wait_until

from analysis import load_study
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.storage import Folder
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.locks import hold

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]


def test_a_run_keeps_rays_files_and_token_from_other_users_and_removes_them(tmp_path):
    with driver(study(epochs=30, seeds=1), tmp_path) as run:
        session = wait_until(lambda: next(run.ray.glob("ta-*/r/session_2*/sockets/raylet"), None)).parents[3]
        token = session / "token"
        assert session.stat().st_mode & 0o777 == 0o700
        assert token.stat().st_mode & 0o777 == 0o600
        code, out = run.wait()
        assert code == 0, out
        assert sorted(path.name for path in run.ray.iterdir()) == ["out"]


def test_ctrl_c_ends_in_order_and_keeps_what_was_finished(tmp_path):
    tree, store = study(epochs=60), tmp_path / "tiny"
    with driver(tree, tmp_path) as run:
        wait_until(lambda: finished_at(store))
        run.interrupt()
        code, out = run.wait(60)
        assert code == 130, out
        wait_until(lambda: run.family() == [])
    assert "stopping" in out
    assert "interrupted: run the same command again" in out
    assert "Traceback" not in out
    results = load_study(store)
    assert set(results.trials.status) == {"completed"}
    assert 1 <= len(results.trials) < 6


@pytest.mark.cluster  # with the longer ones
def test_ctrl_c_twice_ends_at_once(tmp_path):
    with driver(study(epochs=2000), tmp_path) as run:
        wait_until(lambda: list((tmp_path / "tiny").rglob("last.pt")))
        run.interrupt()
        wait_until(lambda: "stopping" in run.out.read_text())
        run.interrupt()
        code, out = run.wait(30)
        wait_until(lambda: run.family() == [])
    assert code == 130, out
    assert "interrupted: run the same command again" not in out  # what an end in order says
    assert "Traceback" not in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", [".holder", "study.yaml"])
def test_an_interruption_before_anything_is_trained_is_no_success(tmp_path, number, moment):
    with driver(study(epochs=2000), tmp_path) as run:
        wait_until(lambda: (tmp_path / "tiny" / moment).exists())
        run.process.send_signal(number)
        code, out = run.wait(60)
        wait_until(lambda: run.family() == [])
    assert code == 130, out
    assert "Traceback" not in out
    assert not [name for name in (".holder", ".lease") if (tmp_path / "tiny" / name).exists()]


def test_a_second_run_says_who_holds_the_store(tmp_path):
    holder = f"import time; from tune_app.tuning.store.locks import hold; from tune_app.storage import Folder\nwith hold(Folder({str(tmp_path / 'tiny')!r})): print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(StudyError, match=f"is in use by process {first.pid} on .* since .*; wait until"):
            run_study(study_from(study()), str(tmp_path))
        first.kill()
    with hold(Folder(tmp_path / "tiny")):  # a killed run blocks nobody
        pass
