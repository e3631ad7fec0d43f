"""What a run does before its first trial and after its last one: what it imports, starts, and shows."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import yaml

from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.tuning import runner, session, tuner
from tune_app.tuning.executor import Batch
from tune_app.tuning.inline import InlineExecutor
from tune_app.tuning.interruption import interruption_at_the_end
from tune_app.tuning.queues import QueueSearcher
from tune_app.tuning.ray_executor import RayExecutor
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.live import LiveWriter

pytestmark = pytest.mark.slow

TRAIN = """
import sys
from search_spaces.study_files import study_from
from tune_app.tuning.runner import run_study

tree = {tree!r}
tree["factors"] = {{"optimizer.name": ["nesterov", "adam", "adamw"], "model.norm": ["batch", "layer", "instance"]}}
tree["seeds"] = 1
summary = run_study(study_from(tree), {folder!r}, executor="inline")
assert summary.trained == 6, summary
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
VERB = """
import sys
sys.argv = ["tune-app", *sys.argv[1:]]
from tune_app.cli import main
try:
    main()
finally:
    print([name for name in ("ray", "torch", "optuna", "pandas", "jsonschema", "scipy.stats") if name in sys.modules])
"""


HELP = """
import sys
from tune_app import cli
print([name for name in ("numpy", "pydantic", "fsspec", "pandas", "ray", "torch") if name in sys.modules])
"""


def printed(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def finished(tiny_tree, tmp_path):
    """The file of a study that is finished, beside its results."""
    run_study(study_from(tiny_tree), str(tmp_path), executor="inline")
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny_tree))
    return file


def test_training_does_not_import_the_compiler(tiny_tree, tmp_path):
    assert printed(TRAIN.format(tree=tiny_tree, folder=str(tmp_path)))[-1] == "[]"


@pytest.mark.parametrize(("verb", "expected"), [("run", "nothing to train"), ("plan", "4 cells, 4 done, 0 to train")])
def test_run_and_plan_of_a_finished_study_do_not_import_what_takes_long(finished, verb, expected):
    lines = printed(VERB, verb, str(finished), "--results", str(finished.parent))
    assert any(expected in line for line in lines)
    assert lines[-1] == "[]"


class Recorded(InlineExecutor):
    def __init__(self):
        self.events, self.batches = [], []

    @contextmanager
    def session(self, spec, trials):
        self.events.append(f"start for {trials}")
        yield
        self.events.append("end")

    def run(self, batch, *arguments):
        self.batches.append(batch.total)
        super().run(batch, *arguments)


def test_the_summary_is_shown_before_the_executor_ends(tiny_tree, tmp_path):
    executor = Recorded()
    summary = run_study(
        study_from(tiny_tree),
        str(tmp_path),
        executor=executor,
        show=lambda found: executor.events.append(f"trained {found.trained} in {found.seconds > 0}"),
    )
    assert executor.events == ["start for 4", "trained 4 in True", "end"]
    assert summary.trained == 4


@pytest.mark.parametrize(("is_cluster", "ends"), [(False, "is auto)"), (True, "lets a cluster start GPU nodes)")])
def test_only_a_run_on_a_cluster_has_the_note_about_gpu_nodes(tiny_tree, tmp_path, monkeypatch, is_cluster, ends):
    monkeypatch.setattr(Recorded, "needs_archive", is_cluster)
    monkeypatch.setattr(Recorded, "gpu_share", lambda *arguments: 0.0)
    (note,) = run_study(study_from(tiny_tree), str(tmp_path), executor=Recorded()).notes
    assert note.startswith("no GPU here")
    assert note.endswith(ends)


def test_a_large_ablation_is_trained_in_batches(tiny_tree, tmp_path, monkeypatch, capsys):
    executor, estimated = Recorded(), []
    monkeypatch.setattr(runner, "TRIALS_PER_BATCH", 3)
    monkeypatch.setattr(runner.Passes, "estimate", lambda passes, jobs: estimated.append(len(jobs)))
    assert run_study(study_from(tiny_tree | {"seeds": 4}), str(tmp_path), executor=executor).trained == 8
    assert executor.batches == [3, 3, 3]
    assert estimated == [8, 0, 0]
    assert "[8/8]" in capsys.readouterr().out


def test_a_ray_that_does_not_start_is_one_message(monkeypatch):
    def fails(**options):
        assert os.environ[session._PRELOAD] == "json,csv"
        raise Exception("The current node timed out during startup.")  # as Ray does

    monkeypatch.setattr(session.ray, "init", fails)
    monkeypatch.setattr(session.ray, "is_initialized", lambda: False)  # another test may have started one
    monkeypatch.setattr(session.ray, "shutdown", lambda: None)
    with pytest.raises(StudyError, match=r"Ray did not start on this machine \(The current node timed out"):
        session.ray_session(preload=("json", "csv")).__enter__()
    assert session._PRELOAD not in os.environ


def test_a_termination_while_ray_starts_is_an_interruption_and_rays_own_handler_does_not_stay(monkeypatch):
    def init(**options):
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as Ray does
        if options["is_ended"]:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(session.ray, "init", init)
    before = signal.getsignal(signal.SIGTERM)
    with interruption_at_the_end():
        session._init(is_ended=False)
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(KeyboardInterrupt), interruption_at_the_end():
        session._init(is_ended=True)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("address", [None, "auto"])
def test_an_interruption_is_not_lost_while_ray_starts(number, address, monkeypatch, capfd):
    """Ray forks within: an exception raised in the callbacks of a fork is printed, and the run went on."""
    started, ended = [], []

    def init(**options):
        os.register_at_fork(before=lambda: len(started) == 0 and signal.raise_signal(number))
        subprocess.run([sys.executable, "-c", ""], check=True, preexec_fn=lambda: None)
        started.append(options)

    monkeypatch.setattr(session, "is_running", lambda: False)
    monkeypatch.setattr(session.ray, "init", init)
    monkeypatch.setattr(session.ray, "shutdown", lambda: ended.append(1))
    with pytest.raises(KeyboardInterrupt), session.ray_session(address):
        pytest.fail("the run went on")
    assert (len(started), len(ended)) == (1, 1)
    assert "stopping once Ray has started" in capfd.readouterr().err


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_interruption_while_ray_starts_is_one_at_once():
    def start():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it went on")

    with pytest.raises(KeyboardInterrupt), interruption_at_the_end():
        start()


@pytest.mark.usefixtures("ctrl_c")
def test_an_error_while_ray_starts_is_the_interruption_that_was_asked_for():
    with pytest.raises(StudyError), interruption_at_the_end():
        raise StudyError("on its own")

    def start():
        signal.raise_signal(signal.SIGINT)
        raise StudyError("because Ray was ended")

    with pytest.raises(KeyboardInterrupt), interruption_at_the_end():
        start()


def test_ray_is_started_as_without_the_dashboards_packages_and_only_then():
    from ray._private import utils

    before = utils.get_dashboard_dependency_error
    with session._without_dashboard():
        assert isinstance(utils.get_dashboard_dependency_error(), ImportError)
    assert utils.get_dashboard_dependency_error is before


def test_only_the_workers_of_a_ray_of_its_own_are_known_to_have_the_environment(tiny_tree, monkeypatch):
    places = []
    monkeypatch.setattr(session, "ray_session", lambda *arguments: None)
    monkeypatch.setattr("tune_app.tuning.ray_executor.cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(tuner, "run_tuner", lambda *arguments: places.append(arguments[-1]))
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "1")
    batch, settings = Batch(QueueSearcher(list), 8, 0.0), SimpleNamespace(cpus=1.0)
    for running in (False, True):
        monkeypatch.setattr(session, "is_running", lambda running=running: running)
        executor = RayExecutor()
        executor.session(study_from(tiny_tree), 8)
        executor.run(batch, {}, settings, "max", None)
    assert [(place.is_own, place.is_local, place.workers) for place in places] == [(True, True, 2), (False, True, 2)]


def test_pages_get_the_time_left_once_enough_was_done_to_say(tiny_tree, tmp_path, monkeypatch):
    written, update = [], LiveWriter.update

    def note(self, running, counts, total, already, seconds_left=None, **options):
        written.append(seconds_left)
        return update(self, running, counts, total, already, seconds_left, **options)

    monkeypatch.setattr(LiveWriter, "update", note)
    run_study(study_from(tiny_tree | {"seeds": 6}), str(tmp_path), executor="inline")
    assert written[0] is None
    assert any(left is not None and left > 0 for left in written)


def test_help_is_there_before_anything_large_is_imported():
    assert printed(HELP) == ["[]"]
