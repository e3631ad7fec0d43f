"""An executor without Ray: several trials side by side on this machine, each slot a process of its own.

Trials, store and figures are those of the inline executor; only the training is elsewhere.
"""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from typing import Any

from search_spaces.study import StudySpec
from tune_app.storage import Folder
from tune_app.tuning.cell import CellRunner, TrialSettings
from tune_app.tuning.executor import Batch, Outlet
from tune_app.tuning.inline import run_trial
from tune_app.tuning.jobs import Job
from tune_app.tuning.queues import FINISHED
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.store.rows import REPORTED_TABLES
from tune_app.tuning.watchdog import Watchdog

STARTUP_SECONDS = 30.0
"""No trial is begun so shortly before the end."""


class ProcessExecutor:
    """Runs trials in processes, at most as many at once as ``slots`` lets, until ``end`` (seconds of `time.time`).

    Several executors may share ``slots``; ``processes`` is the most that this one uses. ``share``: of a GPU, for each
    trial. At the end running trials are cut off, also within an epoch; they go on from their checkpoints when the study
    is run again.
    """

    def __init__(self, processes: int, share: float, slots: threading.Semaphore, end: float) -> None:
        self._processes, self._share, self._slots, self._end = processes, share, slots, end

    @property
    def needs_archive(self) -> bool:
        """Whether the user's code has to travel: no."""
        return False

    def session(self, spec: StudySpec, trials: int) -> nullcontext[None]:
        """Return a context that does nothing."""
        return nullcontext()

    def gpu_share(self, spec: StudySpec) -> float:
        """Return the share of a GPU that each trial gets."""
        return self._share

    def gpus(self) -> float:
        """Return 1 where trials use a GPU."""
        return 1.0 if self._share else 0.0

    def slots(self, cpus: float, gpus: float) -> int:
        """Return how many processes this executor uses."""
        return self._processes

    def check_folder(self, folder: Folder) -> None:
        """Accept every folder: this machine sees it."""

    def run(self, batch: Batch, shared: Mapping[str, Any], settings: TrialSettings, mode: str, outlet: Outlet) -> None:
        """Run the trials of a batch. One thread works for each slot, only one of them at a time except in `step`."""
        turn, numbers = threading.Lock(), itertools.count()
        errors: list[BaseException] = []
        watchdog = Watchdog(settings.trial_timeout, lambda trial, reason: None)

        def work() -> None:
            runner = _RemoteRunner(shared, settings, turn, outlet.recorder, self._end)
            try:
                while True:
                    with self._slots, turn:
                        late = time.time() > self._end - STARTUP_SECONDS
                        config = None
                        if not (late or outlet.recorder.should_stop):
                            name = f"process-{next(numbers)}"
                            config = batch.searcher.suggest(name)
                        if config in (None, FINISHED):
                            if late:
                                outlet.recorder.interrupt()
                            return
                        run_trial(name, config, runner, batch, None, outlet, watchdog)
            except BaseException as error:
                errors.append(error)
            finally:
                runner.end()

        threads = [threading.Thread(target=work) for _ in range(1 if batch.alone else self._processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


class _RemoteRunner:
    """A `CellRunner` in a process of its own, which starts with the first job; while it trains, others have a turn."""

    def __init__(
        self, shared: Mapping[str, Any], settings: TrialSettings, turn: threading.Lock, recorder: Recorder, end: float
    ) -> None:
        self._given, self._turn, self._recorder, self._end = (shared, settings), turn, recorder, end
        self._process: Any = None
        self._connection: Connection
        self.job: Job

    def begin(self, job: Job) -> None:
        """Send the job to the process."""
        self.job = job
        if self._process is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
            # Not as an argument: `start` would wait for ever for a process that ends before it has read all images.
            self._send(self._given)
        self._send(job.to_json())

    def step(self) -> dict[str, Any]:
        """Return the next report; that of a failure if the process ended, that of no epoch if the end comes first."""
        nothing: dict[str, Any] = {"epoch": 0, "epochs": [], **{table: [] for table in REPORTED_TABLES}}
        self._turn.release()
        try:
            self._connection.send("")
            if self._connection.poll(max(0.0, self._end - time.time())):
                report: dict[str, Any] = self._connection.recv()
            else:  # its epoch could be longer than what is left of the call; it goes on from its checkpoint
                self._kill()
                self._recorder.interrupt()
                report = nothing | {"status": "running", "done": False, "trial": {}}
        except (EOFError, OSError):
            self._process.join()
            error = f"the trial's process ended with exit code {self._process.exitcode}"
            report = nothing | {"status": "failed", "final": False, "done": True}
            report |= {"trial": {"error": error, "seconds": 0.0}}
        finally:
            self._turn.acquire()
        if report.pop("device_lost", False):
            self._kill()  # the next job gets a process that can use the GPU
        if time.time() >= self._end:
            self._recorder.interrupt()
        return report

    def close(self) -> None:
        """End the training."""
        self._send(None)

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._connection.close()
            self._process.join(10)
            self._process.kill()

    def _send(self, message: object) -> None:
        with suppress(OSError):  # a process that has ended already: `step` reports it
            self._connection.send(message)

    def _kill(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(connection: Connection) -> None:
    """Take what the trials share, then do what comes: a job to begin, "" for a step, None to end the training."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        runner = CellRunner(*connection.recv())
    except EOFError:
        return
    while True:
        try:
            message = connection.recv()
        except EOFError:
            runner.close()
            return
        if message is None:
            runner.close()
        elif message:
            runner.begin(Job.from_json(message))
        else:
            connection.send(runner.step())
