"""A study that is disturbed again and again ends as if nothing had happened.

`make chaos` is this file with more cells, more rounds and another seed; the default suite runs a short form.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from contextlib import suppress

import psutil
import pytest
from drivers import driver, figures, finished_at, stored, study, undisturbed, wait_until

from analysis import load_study
from search_spaces.errors import StudyError
from tests.support.s3_gate import moto_server, open_gate
from tune_app.storage import Folder
from tune_app.tuning.store.live import read_live

LONG = "CHAOS_KILLS" in os.environ
KILLS, CELLS, SEED = (
    int(os.environ.get(f"CHAOS_{name}", value)) for name, value in (("KILLS", 3), ("CELLS", 6), ("SEED", 1))
)
pytestmark = [pytest.mark.ray, pytest.mark.timeout(4 * 3600 if LONG else 400)]
SHORT = ("kill", "full disk", "second writer")
"""What the short form does, in turn. A trainer that is stopped is waited for, for minutes: see test_fault_trial.py."""
TIMEOUT = 15
"""`trial_timeout`: an epoch takes milliseconds, but the machine may be busy."""


@pytest.fixture
def place(tmp_path):
    """A folder; where this user may mount one, on a small disk of its own that can be filled."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", disk], capture_output=True)
    yield disk
    if mounted.returncode == 0:
        subprocess.run(["umount", "--lazy", disk], check=True)


def trainers(run):
    """Return the processes of a driver that train."""
    found = []
    for process in run.family():
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if words.startswith("ray::") and "Trainable" in words:
                found.append(process)
    return found


class Chaos:
    """The disturbances, each of a running driver. One that the driver survives returns False."""

    def __init__(self, folder, dice):
        self.folder, self.dice = folder, dice
        self.kinds = ["kill", "kill", "kill", "stop", "second writer"]
        if os.path.ismount(folder):
            self.kinds.append("full disk")

    def disturb(self, kind, run, tree):
        return {
            "kill": self.kill,
            "stop": self.stop,
            "second writer": self.second_writer,
            "full disk": self.full_disk,
        }[kind](run, tree)

    def kill(self, run, tree):
        run.kill()
        return True

    def stop(self, run, tree):
        """SIGSTOP: the trainer has to be killed by the driver's watchdog."""
        began = time.time()
        wait_until(lambda: self.is_training(began) or run.process.poll() is not None)
        if not (there := trainers(run)):
            return False  # the study ended before anything could be stopped
        process = self.dice.choice(there)
        with suppress(psutil.NoSuchProcess):
            process.suspend()
        wait_until(lambda: not process.is_running() or run.process.poll() is not None, 240, every=0.1)
        return False

    def is_training(self, since):
        """Return whether a trial has reported since then: all workers are up, and the watchdog counts from here on.

        A worker that is stopped while it starts is not noticed: a trial that waits for a worker may wait for a machine.
        """
        live = read_live(Folder(self.folder / "tiny"))
        return live is not None and live["updated_at"] > since and any(trial["epoch"] for trial in live["running"])

    def second_writer(self, run, tree):
        """A second run of the same study is refused, and the first goes on."""
        with driver(tree, self.folder) as second:
            code, out = second.wait(200)
        if run.process.poll() is None:
            assert (code, "is in use by process" in out) == (2, True), out
        return False

    def full_disk(self, run, tree):
        """The disk is full: the run ends with exit code 2, or has ended by itself."""
        ballast = self.folder / "ballast"
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            code, out = run.wait(200)
            assert code in (0, 2), out
            assert "Traceback" not in out, out
        finally:
            ballast.unlink(missing_ok=True)
        return True


def test_killed_at_random_moments_a_study_ends_as_if_undisturbed(place, tmp_path):
    store, dice, done = place / "tiny", random.Random(SEED), {}
    cells, chaos = CELLS, Chaos(place, dice)
    print(f"\n{KILLS} disturbances of {', '.join(dict.fromkeys(chaos.kinds))}; seed {SEED}")
    for number in range(1, KILLS + 1):
        if LONG and len(done) > cells - 4:  # a run that has nothing to do cannot be disturbed
            cells += 8
        tree = study(epochs=12, seeds=cells // 2, trial_timeout=TIMEOUT)
        kind = dice.choice(chaos.kinds) if LONG else SHORT[number % len(SHORT)]
        if kind not in chaos.kinds:  # no disk of its own
            kind = "kill"
        more = dice.randint(0, 1) if len(done) < cells - 3 else 0
        began = time.monotonic()
        with driver(tree, place) as run:
            if more:
                wait_until(lambda: len(finished_at(store)) > len(done) or run.process.poll() is not None, every=0.2)  # noqa: B023
                time.sleep(dice.random() / 4)
            else:
                wait_until(lambda: (store / ".holder").exists() or run.process.poll() is not None)
                time.sleep(8 * dice.random())
            if not chaos.disturb(kind, run, tree):
                run.kill()
            wait_until(lambda: run.family() == [])
        now = finished_at(store)
        line = f"{number}: {kind} after {time.monotonic() - began:.1f} s: {len(now)} of {cells} cells finished"
        print(line, flush=True)
        assert {digest: now[digest] for digest in done} == done, "trained twice"
        done = now
    with driver(tree, place) as run:
        code, out = run.wait()
    assert code == 0, out
    assert stored(store) == undisturbed(tree)
    assert {digest: at for digest, at in finished_at(store).items() if digest in done} == done


@pytest.fixture
def gate(monkeypatch):
    """A bucket on loopback behind a gate."""
    with moto_server() as port, open_gate(port, monkeypatch) as made:
        yield made


@pytest.mark.cluster  # with the longer ones
def test_an_s3_server_that_disappears_and_kills_cost_no_cell(gate, tmp_path):
    kills, cells = max(2, KILLS // 10), min(CELLS, 8)
    url, dice, done = "s3://bucket/results", random.Random(SEED), {}
    store = f"{url}/tiny"

    def finished():
        try:
            return dict(load_study(store).trials.set_index("digest").finished_at)
        except StudyError:  # nothing there yet
            return {}

    print(f"\n{cells} cells on S3, {kills} rounds, seed {SEED}")
    for number in range(1, kills + 1):
        cells += 4 if len(done) > cells - 4 else 0
        tree = study(epochs=6, seeds=cells // 2)
        more = "nothing", "a cell"
        before, after = "a cell" if number == kills else dice.choice(more), dice.choice(more)
        with driver(tree, tmp_path, "--results", url) as run:

            def wait_for(what, run=run):
                had = len(finished())
                wait_until(
                    lambda: what == "nothing" or len(finished()) > had or run.process.poll() is not None, 300, 0.2
                )

            wait_until(lambda: gate.written or run.process.poll() is not None)
            wait_for(before)
            time.sleep(6 * dice.random())
            gate.away = True
            time.sleep(1 + 5 * dice.random())
            gate.away = False
            wait_for(after)
            time.sleep(4 * dice.random())
            run.kill()
            wait_until(lambda: run.family() == [])
        gate.written.clear()
        now = finished()
        line = f"{number}: server away after {before}, then {after} and a kill: {len(now)} of {cells} cells finished"
        print(line, flush=True)
        assert {digest: now[digest] for digest in done} == done, "trained twice"
        done = now
    assert done
    with driver(tree, tmp_path, "--results", url) as run:
        code, out = run.wait(300)
    assert code == 0, out
    results = load_study(store)
    assert results.problems == ()
    assert {row["digest"]: figures(row) for row in results.trials.to_dict("records")} == undisturbed(tree)
