"""The inline executor: trials one after the other in this process, without Ray, so that a debugger works."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from types import FrameType, SimpleNamespace
from typing import Any, Protocol

import torch

from search_spaces.errors import StudyError
from search_spaces.study import StudySpec
from tune_app.storage import Folder
from tune_app.timers import if_longer_than
from tune_app.tuning.cell import CellRunner, TrialSettings
from tune_app.tuning.executor import Batch, Outlet
from tune_app.tuning.jobs import Job
from tune_app.tuning.queues import FINISHED
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.resources import gpu_share, local_resources
from tune_app.tuning.schedulers import SerialAsha
from tune_app.tuning.watchdog import Watchdog


class InlineExecutor:
    """Runs trials in this process. The store and the figures are those of a run on Ray."""

    @property
    def needs_archive(self) -> bool:
        """Whether the user's code has to travel: no."""
        return False

    def session(self, spec: StudySpec, trials: int) -> nullcontext[None]:
        """Return a context that does nothing."""
        return nullcontext()

    def gpu_share(self, spec: StudySpec) -> float:
        """Return the share of a GPU that each trial gets; ``auto`` is a whole one, since trials run one at a time."""
        here = local_resources()
        return min(1.0, here["GPU"]) if spec.resources.gpu == "auto" else gpu_share(spec.resources, here)

    def gpus(self) -> float:
        """Return how many GPUs this machine has."""
        return local_resources()["GPU"]

    def slots(self, cpus: float, gpus: float) -> int:
        """Return 1."""
        return 1

    def check_folder(self, folder: Folder) -> None:
        """Accept every folder: this process sees it."""

    def run(self, batch: Batch, shared: Mapping[str, Any], settings: TrialSettings, mode: str, outlet: Outlet) -> None:
        """Run the trials of a batch in order; Ctrl-C or SIGTERM ends the run after the present epoch."""
        threads = torch.get_num_threads()
        runner = CellRunner(shared, settings)
        asha = batch.stopping.asha
        stopper = SerialAsha(asha, batch.stopping.epochs, mode, batch.stopping.known) if asha else None
        watchdog = Watchdog(settings.trial_timeout, lambda trial, reason: None)
        try:
            with _interruptible(outlet.recorder):
                for number in range(batch.total):
                    config = batch.searcher.suggest(f"inline-{number}")
                    if config == FINISHED or outlet.recorder.should_stop:
                        break
                    run_trial(f"inline-{number}", config, runner, batch, stopper, outlet, watchdog)
        finally:
            runner.close()
            torch.set_num_threads(threads)
            _each(outlet, "on_experiment_end", trials=[])


class Runner(Protocol):
    """What trains a job: a `CellRunner`, or something that passes its calls on to one elsewhere."""

    job: Job

    def begin(self, job: Job) -> None:
        """Take the next job."""
        ...

    def step(self) -> dict[str, Any]:
        """Train until there is something to report, and return the report."""
        ...

    def close(self) -> None:
        """End the training."""
        ...


def run_trial(
    name: str,
    config: Any,
    runner: Runner,
    batch: Batch,
    stopper: SerialAsha | None,
    outlet: Outlet,
    watchdog: Watchdog,
) -> None:
    """Run one trial to its end, its early stop, or the end of the run; everything goes to the outlet."""
    trial = SimpleNamespace(trial_id=name, config=config, last_result=None)
    runner.begin(Job.from_json(config["job"]))
    _each(outlet, "on_trial_start", iteration=0, trials=[], trial=trial)
    watchdog.on_trial_start(trial)
    while True:
        allowed = watchdog.allowed(name)
        with if_longer_than(allowed, partial(_say_where, runner.job, allowed or 0.0)):
            report = runner.step() | {"hostname": _hostname()}
        watchdog.on_trial_result(trial, report)
        stops = report["done"] or outlet.recorder.should_stop
        if stopper is not None and not report["done"] and "objective" in report:
            stops = stopper.stops(name, report["epoch"], report["objective"]) or stops
        if not report["done"]:
            batch.searcher.on_trial_result(name, report)
        trial.last_result = report
        _each(outlet, "on_trial_result", iteration=0, trials=[], trial=trial, result=report)
        _each(outlet, "on_step_end", iteration=0, trials=[])
        if stops:
            break
    runner.close()
    batch.searcher.on_trial_complete(name, report, error=False)
    _each(outlet, "on_trial_complete", iteration=0, trials=[], trial=trial)
    if report.get("device_lost"):
        raise StudyError(
            "this process cannot use its GPU any more after an error of CUDA, so no further cell can be trained in it: "
            "run the same command again"
        )


def _say_where(job: Job, seconds: float) -> None:
    """Print where this process is: it cannot end itself."""
    print(
        f"{job.arm}, seed {job.config.seed}: no report for {seconds:.0f} s (`trial_timeout`). A run with --inline "
        "cannot end it: press Ctrl-C twice, or run without --inline. It is here:",
        file=sys.stderr,
        flush=True,
    )
    faulthandler.dump_traceback(file=sys.__stderr__ or 2)


def _each(outlet: Outlet, event: str, **given: Any) -> None:
    """Call the method for an event on everything that has one; listeners before the recorder, which takes rows out."""
    for listener in (*outlet.listeners, outlet.recorder, outlet.progress):
        method = getattr(listener, event, None)
        if method is not None:
            method(**given)


def _hostname() -> str:
    import socket

    return socket.gethostname()


@contextmanager
def _interruptible(recorder: Recorder) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end the run after the present epoch, and the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if recorder.interrupted:
            raise KeyboardInterrupt
        recorder.interrupt()

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
