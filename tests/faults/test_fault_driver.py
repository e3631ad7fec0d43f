"""The driver is killed, interrupted, or started twice."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from drivers import driver, finished_at, stored, study, undisturbed, wait_until

from analysis import load_study
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.storage import Folder
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.locks import hold

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3600 if "CHAOS_KILLS" in os.environ else 400)]


def test_killed_at_random_moments_a_study_ends_as_if_undisturbed(tmp_path):
    """`make chaos` is this test with more cells, more kills and another seed."""
    kills, cells, seed = (
        int(os.environ.get(f"CHAOS_{name}", value)) for name, value in (("KILLS", 3), ("CELLS", 6), ("SEED", 1))
    )
    tree, store, dice = study(epochs=12, seeds=cells // 2), tmp_path / "tiny", random.Random(seed)
    done = {}
    print(f"\n{cells} cells, {kills} kills, seed {seed}")
    for kill in range(1, kills + 1):
        more = dice.randint(0, 1) if len(done) < cells - 3 else 0
        with driver(tree, tmp_path) as run:
            began = time.monotonic()
            if more:
                wait_until(lambda: len(finished_at(store)) > len(done))  # noqa: B023
                time.sleep(dice.random() / 4)
            else:
                wait_until(lambda: (store / ".holder").exists())
                time.sleep(8 * dice.random())
            assert run.process.poll() is None or len(finished_at(store)) == cells
            run.kill()
            wait_until(
                lambda: run.family() == []
            )  # Ray dies with its driver; an agent that was just starting, 10 s later
            seconds = time.monotonic() - began
        now = finished_at(store)
        print(f"kill {kill} after {seconds:.1f} s: {len(now)} of {cells} cells finished", flush=True)
        assert {digest: now[digest] for digest in done} == done, "trained twice"
        done = now
    with driver(tree, tmp_path) as run:
        code, out = run.wait()
    assert code == 0, out
    assert stored(store) == undisturbed(tree)
    assert {digest: at for digest, at in finished_at(store).items() if digest in done} == done


def test_ctrl_c_ends_in_order_and_keeps_what_was_finished(tmp_path):
    tree, store = study(epochs=60), tmp_path / "tiny"
    with driver(tree, tmp_path) as run:
        wait_until(lambda: finished_at(store))
        run.interrupt()
        code, out = run.wait(60)
        assert (code, run.family()) == (130, []), out
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
        time.sleep(0.05)
        run.interrupt()
        code, out = run.wait(30)
        wait_until(lambda: run.family() == [])
    assert code == 130, out
    assert "Traceback" not in out


def test_a_termination_before_anything_is_trained_is_no_success(tmp_path):
    with driver(study(epochs=2000), tmp_path) as run:
        wait_until(lambda: (tmp_path / "tiny" / "study.yaml").exists())
        run.process.send_signal(signal.SIGINT)
        code, out = run.wait(60)
        wait_until(lambda: run.family() == [])
    assert code == 130, out
    assert "Traceback" not in out


def test_a_second_run_says_who_holds_the_store(tmp_path):
    holder = f"import time; from tune_app.tuning.store.locks import hold; from tune_app.storage import Folder\nwith hold(Folder({str(tmp_path / 'tiny')!r})): print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(StudyError, match=f"is in use by process {first.pid} on .* since .*; wait until"):
            run_study(study_from(study()), str(tmp_path))
        first.kill()
    with hold(Folder(tmp_path / "tiny")):  # a killed run blocks nobody
        pass
