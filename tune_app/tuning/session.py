"""Start or join Ray, quietly and without usage statistics."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

QUIET = {
    # No usage statistics: neither from here nor from a head that `ray start` makes.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    # The store is ours to write: no CSV, JSON or TensorBoard files, no change of the working directory.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # A diverged trial reports no objective, and that is right.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1e9",
    # `interruptible` handles Ctrl-C. A process that is to end is not waited for longer than this.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",
    # The processes that Ray starts beforehand wait for the first trials; by default they end after a second.
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
}
os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})

import ray  # noqa: E402  (Ray reads the environment when it is imported)

from search_spaces.errors import StudyError, headline  # noqa: E402
from search_spaces.files import require_writable_place  # noqa: E402
from tune_app.tuning.interruption import interruption_at_the_end  # noqa: E402
from tune_app.tuning.session_folder import own_token, session_folder  # noqa: E402

_PRELOAD = "RAY_preload_python_modules"
_SILENT: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


def is_running() -> bool:
    """Return whether this process has started or joined a Ray."""
    return bool(ray.is_initialized())


@contextmanager
def ray_session(address: str | None = None, preload: Sequence[str] = ()) -> Iterator[None]:
    """Join the Ray at ``address`` (``auto``: the one running here), or start one on this machine and end it after.

    The worker processes of a Ray that is started here, one for each CPU, import the modules ``preload`` at once. A Ray
    that this process has already started is used as it is. Raises StudyError where there is none to join, or it does
    not start.
    """
    if is_running():
        yield
        return
    if address is None:
        with session_folder() as folder, own_token(folder):
            beside = threading.Thread(target=import_module, args=("pandas",))  # which Ray Tune imports
            try:
                with interruption_at_the_end():
                    beside.start()
                    _start_ray(folder, preload)
                    beside.join()
                yield
            finally:
                ray.shutdown()
        return
    try:
        with interruption_at_the_end():
            _join(address)
        yield
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    try:
        _init(address=address)
    except ConnectionError as error:
        raise StudyError(
            f"`--address` is {address!r}, but no Ray answers there: {str(error).splitlines()[0]}"
        ) from None


def _init(**options: Any) -> None:
    """Start or join Ray. From then on it ends this process at SIGTERM; `interruption_at_the_end` takes that back."""
    try:
        ray.init(**options, **_SILENT)
    except SystemExit:
        raise KeyboardInterrupt from None


def _start_ray(folder: Path, preload: Sequence[str]) -> None:
    os.environ[_PRELOAD] = ",".join(preload)
    try:
        with _without_dashboard():
            _init(address="local", include_dashboard=False, _temp_dir=str(folder))
    except Exception as error:  # Ray raises a plain Exception where one of its processes does not start
        raise StudyError(
            f"Ray did not start on this machine ({headline(str(error))}): is the machine overloaded, or are its memory "
            f"or the disk of {folder.parents[1]} full? Run the same command again"
        ) from error
    finally:
        del os.environ[_PRELOAD]


@contextmanager
def _without_dashboard() -> Iterator[None]:
    """Let Ray start its processes as it does where the packages of its dashboard are not installed.

    With them, the agent of each node loads the dashboard's modules and waits up to four seconds for a port that another
    Ray on the machine has: 3.7 to 7.8 s until Ray is up, against 2.6 s. A run of its own uses none of that.
    """
    from ray._private import utils

    name = "get_dashboard_dependency_error"
    before = getattr(utils, name, None)
    if before is not None:  # a private function: without it Ray starts as it always does
        setattr(utils, name, lambda: ImportError("not needed"))
    try:
        yield
    finally:
        if before is not None:
            setattr(utils, name, before)


@contextmanager
def noise_to(log: Path) -> Iterator[None]:
    """Send what Ray prints and logs in this process to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    require_writable_place(log)
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data")]
    file = log.open("a", encoding="utf-8")
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = [(logger, logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    try:
        with redirect_stdout(file), redirect_stderr(file):
            yield
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
        with suppress(OSError):  # a full disk: the recorder reports it, and the log is no result
            file.close()


@contextmanager
def interruptible(on_interrupt: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C or SIGTERM end the Ray Tune run inside in order, after ``on_interrupt``; the next one ends it at once.

    Tune ends in order on SIGUSR1, whose handler it sets when it begins. Before that there is nothing to end in order.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM)}
    asked = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        end_in_order = signal.getsignal(signal.SIGUSR1)
        on_interrupt()
        if asked or not callable(end_in_order):
            raise KeyboardInterrupt
        asked = True
        os.write(
            2, b"\nstopping: trials go on from their last checkpoints when run again; Ctrl-C again stops at once\n"
        )
        end_in_order(number, frame)

    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
