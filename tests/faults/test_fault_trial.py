"""A trial's process is killed; the disk is full; files are damaged; the driver itself is at fault."""

import functools
import json
import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace

import psutil
import pytest
from drivers import stored, study, undisturbed, wait_until
from ray.tune import TuneError

from analysis import load_study
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tests.support.own_code import TRAIN, write_package
from tune_app.storage import Folder
from tune_app.studies import read_study
from tune_app.tuning import tuner, watchdog
from tune_app.tuning.queues import QueueSearcher
from tune_app.tuning.runner import run_study
from tune_app.tuning.trainable import CellTrainable

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray"), pytest.mark.timeout(300)]


@pytest.fixture
def disk(tmp_path):
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def signals_itself(number, marker):
    """Return a trainable of which one process sends itself a signal, once, after the first epoch of its trial.

    Into ``marker`` goes what it was: process, digest, and the seconds of that epoch, which never come out twice the same.
    """

    class SignalsItself(CellTrainable):
        _seconds = 0.0

        def _make_runner(self, shared, settings):
            return super()._make_runner(shared, replace(settings, report_seconds=0.0))  # a report for each epoch

        def step(self):
            if self.training_iteration and not marker.exists():
                marker.write_text(f"{os.getpid()} {self._runner.job.digest} {self._seconds!r}")
                os.kill(os.getpid(), number)
            report = super().step()
            self._seconds = report["epochs"][0]["seconds"]
            return report

    return SignalsItself


def signalled(marker, store):
    """Return the process that sent itself a signal; its first epoch must be in the store as that process trained it."""
    pid, digest, seconds = marker.read_text().split()
    epochs = load_study(store).epochs.set_index(["digest", "epoch"])
    assert epochs.seconds[digest, 1] == float(seconds), "trained again what a checkpoint held"
    return int(pid)


def test_a_killed_trial_goes_on_from_its_checkpoint_and_no_failure_is_counted(tmp_path, monkeypatch):
    tree, marker = study(epochs=6, seeds=1, max_failures=0), tmp_path / "killed"
    monkeypatch.setattr(tuner, "CellTrainable", signals_itself(signal.SIGKILL, marker))
    summary = run_study(study_from(tree), str(tmp_path))
    assert not psutil.pid_exists(signalled(marker, tmp_path / "tiny"))
    assert dict(summary.counts) == {"completed": 2}
    assert stored(tmp_path / "tiny") == undisturbed(tree)
    trials = load_study(tmp_path / "tiny").trials
    restarts = [json.loads(history) for history in trials.history]
    assert ["process or node lost; went on from the last checkpoint"] in restarts
    cut = trials[trials.attempts == 2].digest
    epochs = load_study(tmp_path / "tiny").epochs
    assert set(epochs[epochs.digest.isin(cut)].groupby("digest").epoch.count()) == {6}


@pytest.fixture
def time_runs_while(monkeypatch):
    """Return a function that lets the watchdog's clock run only while a condition holds, and then fast.

    On a busy machine a process that does not hang may start and report slowly.
    """

    def install(condition):
        now = [0.0]

        def clock():
            now[0] += watchdog.STEP_SECONDS * condition()
            return now[0]

        monkeypatch.setattr(watchdog, "START_SECONDS", 0.0)
        monkeypatch.setattr(tuner, "Watchdog", functools.partial(watchdog.Watchdog, clock=clock))

    return install


def test_a_stopped_trial_is_ended_counted_and_resumed(tmp_path, monkeypatch, time_runs_while):
    """SIGSTOP: the process is there, holds its CPU, and reports nothing."""
    tree, marker = study(epochs=6, seeds=1, trial_timeout=100), tmp_path / "stopped"
    monkeypatch.setattr(tuner, "CellTrainable", signals_itself(signal.SIGSTOP, marker))
    time_runs_while(lambda: marker.exists() and psutil.pid_exists(int((marker.read_text().split() or ["0"])[0])))
    summary = run_study(study_from(tree), str(tmp_path))
    assert not psutil.pid_exists(signalled(marker, tmp_path / "tiny"))
    assert dict(summary.counts) == {"completed": 2}
    assert stored(tmp_path / "tiny") == undisturbed(tree)
    histories = [json.loads(history) for history in load_study(tmp_path / "tiny").trials.history]
    expected = "error: no report for 100 s (`trial_timeout`): its process was ended; went on from the last checkpoint"
    assert [expected] in histories


HANGS_ONCE = """
import os, pathlib, sys, threading

def _hang_once(name):
    marker = pathlib.Path(__file__).parent / name
    if "ray" in sys.modules and not marker.exists():
        marker.write_text(str(os.getpid()))
        threading.Event().wait()

_hang_once("import")
_plain = train


def train(config: Config, context):
    _hang_once("data")
    yield from _plain(config, context)
"""


def test_a_hung_import_and_a_data_source_that_never_answers_are_ended_counted_and_tried_again(
    tmp_path, time_runs_while
):
    places = [tmp_path / "own_pkg" / name for name in ("import", "data")]
    time_runs_while(lambda: any(path.exists() and psutil.pid_exists(int(path.read_text() or 0)) for path in places))
    study_file = write_package(tmp_path, TRAIN + HANGS_ONCE, seeds=1, trial_timeout=100, max_failures=50)
    summary = run_study(read_study(study_file), str(tmp_path / "results"))
    assert dict(summary.counts) == {"completed": 2}
    trials = load_study(tmp_path / "results/own").trials
    history = {entry for entries in trials.history for entry in json.loads(entries)}
    ended = "for 100 s (`trial_timeout`): its process was ended; went on from the last checkpoint"
    assert {f"error: its process did not start {ended}", f"error: no report {ended}"} <= history
    assert not any(psutil.pid_exists(int(path.read_text())) for path in places)


def test_a_process_that_never_starts_fails_its_trial_after_the_attempts_of_the_study(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "START_SECONDS", 0.0)
    hangs = TRAIN + '\nimport sys, threading\nif "ray" in sys.modules:\n    threading.Event().wait()\n'
    study_file = write_package(tmp_path, hangs, seeds=1, trial_timeout=1, max_failures=0)
    summary = run_study(read_study(study_file), str(tmp_path / "results"))
    assert dict(summary.counts) == {"failed": 2}
    assert {error for _, error in summary.failed} == {
        "its process did not start for 1 s (`trial_timeout`): its process was ended"
    }


def test_a_process_that_lost_its_gpu_trains_no_further_cell(tmp_path, monkeypatch):
    class LosesGpu(CellTrainable):
        """Meets an error of CUDA once, and says which process it was."""

        def step(self):
            if not self._lost and not (tmp_path / "lost").exists():
                (tmp_path / "lost").write_text(str(os.getpid()))
                error = RuntimeError("CUDA error: an illegal memory access was encountered")
                self._runner.step = lambda: self._runner.failed("failed", str(error)) | {"device_lost": True}
            elif not self._lost:
                (tmp_path / f"trained-{os.getpid()}").touch()
            return super().step()

    monkeypatch.setattr(tuner, "CellTrainable", LosesGpu)
    summary = run_study(study_from(study(seeds=2)), str(tmp_path))
    assert dict(summary.counts) == {"completed": 4}
    pid = (tmp_path / "lost").read_text()
    assert list(tmp_path.glob("trained-*"))
    assert not (tmp_path / f"trained-{pid}").exists()
    histories = [history for history in load_study(tmp_path / "tiny").trials.history if history != "[]"]
    error = "error: CUDA error: an illegal memory access was encountered; went on from the last checkpoint"
    assert [json.loads(history) for history in histories] == [[error]]


def test_an_error_outside_training_is_noted_as_what_it_was(tmp_path, monkeypatch):
    class FailsOnce(CellTrainable):
        def setup(self, config, **given):
            super().setup(config, **given)
            if not (tmp_path / "failed").exists():
                (tmp_path / "failed").touch()
                raise ValueError("no such thing")

    monkeypatch.setattr(tuner, "CellTrainable", FailsOnce)
    summary = run_study(study_from(study(seeds=1, max_failures=0)), str(tmp_path))
    assert dict(summary.counts) == {"completed": 2}
    histories = {history for history in load_study(tmp_path / "tiny").trials.history if history != "[]"}
    assert histories == {'["error outside training: ValueError: no such thing; went on from the last checkpoint"]'}


def test_a_full_disk_ends_the_run_with_one_clear_message_and_nothing_half_written(disk):
    (disk / "ballast").write_bytes(bytes(700_000))
    tree = study(epochs=3, seeds=2, baseline=study()["baseline"] | {"model": {"depth": 8, "width": 16}})
    with pytest.raises(StudyError, match=r"cannot be written any more: .*No space left.*run the same command again"):
        run_study(study_from(tree), str(disk))
    (disk / "ballast").unlink()
    results = disk / "tiny"
    assert not list(results.rglob("*.tmp"))
    assert not [path for path in results.rglob("*.parquet") if not path.stat().st_size]
    before = len(load_study(results).trials)
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
    summary = run_study(study_from(tree), str(disk))
    assert (summary.already, summary.trained, summary.failed) == (before, 4 - before, [])


def test_a_folder_that_cannot_be_written_is_said_before_training(disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(
        StudyError, match=r"results folder .* cannot be written: .*Read-only.*choose another by --results"
    ):
        run_study(study_from(study()), str(disk))


def test_damaged_files_are_made_good_by_running_again(tmp_path):
    tree = study(epochs=2, seeds=1, keep=["best", "last"], resources={"gpu": 0.0, "cpu": 2})  # one process trains
    spec = study_from(tree)
    run_study(spec, str(tmp_path))
    store = tmp_path / "tiny"
    whole = stored(store)
    first, second = sorted((store / "trials").iterdir())
    first.write_bytes(first.read_bytes()[:-100])
    checkpoint = store / "checkpoints" / first.stem / "last.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    (store / "epochs" / second.name).write_bytes(b"PAR1")
    (store / "checkpoints" / first.stem / ".left.tmp").write_bytes(b"half")
    assert any("cannot be read" in problem for problem in load_study(store).problems)
    summary = run_study(spec, str(tmp_path))
    assert summary.trained == 2
    assert stored(store) == whole


def test_a_mistake_of_the_driver_is_not_taken_for_the_trials(tmp_path, monkeypatch):
    def broken(self, trial_id, result=None, error=False):
        raise RuntimeError("a mistake in the searcher")

    monkeypatch.setattr(QueueSearcher, "on_trial_complete", broken)
    with pytest.raises(TuneError, match=r"the driver failed on trial .*\n(.*\n)*.*a mistake in the searcher"):
        run_study(study_from(study(seeds=1)), str(tmp_path))


def test_a_stopped_study_does_not_call_its_running_trials_pruned(tmp_path):
    tree = study(epochs=400, seeds=2, fail_fast=True, max_failures=0)
    tree["factors"] = {"epochs": [400, 401]}
    store = tmp_path / "tiny"
    (store / "checkpoints").mkdir(parents=True)

    def block():
        place = wait_until(lambda: next((store / "checkpoints").iterdir(), None))
        wait_until(lambda: (place / "last.pt").exists())

        def blocked():  # the trial makes its folder again when it writes between the two
            with suppress(OSError):
                Folder(store).remove(f"checkpoints/{place.name}")
                place.write_text("a file where a folder must be")
                return True
            return False

        wait_until(blocked, every=0.0)

    thread = threading.Thread(target=block)
    thread.start()
    summary = run_study(study_from(tree), str(tmp_path))
    thread.join()
    assert summary.stopped
    assert set(load_study(store).trials.status) <= {"failed", "completed"}
    assert not summary.counts["pruned"]
