"""What the driver does with what trials report, without Ray's processes."""

import dataclasses
import json
import pickle
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from reports import report

from search_spaces.budget import Usage
from search_spaces.study import StudySpec
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.store.writer import ResultsStore


@pytest.fixture
def store(tmp_path):
    return ResultsStore(str(tmp_path), "tiny")


@pytest.fixture
def make(tiny_tree, store):
    def recorder(max_gpus=0.0, **changes):
        return Recorder(StudySpec.model_validate(tiny_tree | changes), store, lambda: max_gpus)

    return recorder


def play(recorder, job, *reports):
    """Let a trial start, report and end, as Ray would call it."""
    trial = SimpleNamespace(trial_id=job.digest, config={"job": job.to_json()}, last_result=None)
    recorder.on_trial_start(0, [], trial)
    for number, result in enumerate(reports):
        trial.last_result = result
        recorder.on_trial_result(0, [], trial, result)
        if number == len(reports) - 1:
            recorder.on_trial_complete(0, [], trial)
    return trial


def row_of(store, job):
    return pq.read_table(store.folder.path(f"trials/{job.digest}-{job.fingerprint}.parquet")).to_pylist()[0]


def failure(status="failed", error="Traceback ...\nValueError: no", final=False):
    return report(status=status, error=error) | {"final": final}


def test_a_completed_trial_is_written_and_ray_keeps_no_rows(make, store, job):
    recorder = make()
    trial = play(recorder, job, report(0.5), report(0.75, first=2, status="completed", test_accuracy=0.7))
    assert recorder.counts == {"completed": 1}
    assert row_of(store, job)["test_accuracy"] == 0.7
    assert "epochs" not in trial.last_result
    assert recorder.records == {}


def test_a_trial_that_the_scheduler_stops_is_pruned(make, store, job):
    recorder = make()
    play(recorder, job, report(0.5))
    assert row_of(store, job)["status"] == "pruned"


def test_a_failed_trial_is_tried_again_as_often_as_the_study_says(make, store, job):
    recorder = make(max_failures=1)
    play(recorder, job, failure())
    (again,) = recorder.again
    assert again.history == ("error: ValueError: no",)
    assert store.trials() == []
    recorder.again = []
    play(recorder, again, failure())
    assert recorder.again == []
    row = row_of(store, job)
    assert (row["status"], row["attempts"]) == ("failed", 2)
    assert row["error"].endswith("ValueError: no")


def test_an_error_that_would_come_again_is_not_tried_again(make, store, job):
    recorder = make(max_failures=5)
    play(recorder, job, failure(final=True))
    assert recorder.again == []
    assert row_of(store, job)["attempts"] == 1


@pytest.mark.parametrize(("share", "next_share"), [(0.25, 0.5), (0.5, 1.0), (0.75, 1.0)])
def test_out_of_memory_is_tried_again_at_twice_the_share(make, store, job, share, next_share):
    recorder = make(max_gpus=1.0, max_failures=0)
    play(recorder, job.again("", share), failure("out_of_memory"))
    (again,) = recorder.again
    assert again.gpus == next_share
    assert again.history[-1] == f"out of memory with {share:g} of a GPU; tried again with {next_share:g}"
    play(recorder, again, report(0.5, status="completed"))
    row = row_of(store, job)
    assert (row["status"], row["gpus"]) == ("completed", next_share)
    assert "out of memory" in json.loads(row["history"])[-1]


def test_gpus_that_a_cluster_starts_during_the_run_count(tiny_tree, store, job):
    gpus = [0.0]
    recorder = Recorder(StudySpec.model_validate(tiny_tree), store, lambda: gpus[0])
    gpus[0] = 1.0
    play(recorder, job.again("", 0.25), failure("out_of_memory"))
    assert [again.gpus for again in recorder.again] == [0.5]


def test_out_of_memory_on_a_whole_gpu_is_a_failure_that_says_what_to_change(make, store, job):
    recorder = make(max_gpus=1.0)
    play(recorder, job.again("", 1.0), failure("out_of_memory"))
    assert recorder.again == []
    assert "try a smaller batch_size" in row_of(store, job)["error"]


class Bomb:
    """Fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("an error was unpickled",)


RAISED = RayTaskError("setup", "Traceback ...\nValueError: no", ValueError("no"))


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ActorDiedError(), "process or node lost"),
        (ActorUnavailableError("no answer", None), "process or node lost"),
        (ActorDiedError(RAISED), "error outside training: ValueError: no"),
        (RAISED, "error outside training: ValueError: no"),
    ],
)
def test_a_restart_is_noted_with_its_cause_and_counts_against_no_budget(make, store, job, tmp_path, error, what):
    recorder = make(max_failures=0)
    trial = broken_trial(job, tmp_path, error)
    recorder.on_trial_recover(0, [], trial)  # a process may be lost before its trial starts
    recorder.on_trial_start(0, [], trial)
    trial.last_result = report(0.5, 0.75, status="completed")
    recorder.on_trial_result(0, [], trial, trial.last_result)
    recorder.on_trial_complete(0, [], trial)
    row = row_of(store, job)
    assert (row["status"], row["attempts"], row["epochs_trained"]) == ("completed", 2, 2)
    assert json.loads(row["history"]) == [f"{what}; went on from the last checkpoint"]


def test_a_later_attempt_keeps_the_note_of_a_restart(make, store, job, tmp_path):
    recorder = make(max_failures=1)
    trial = broken_trial(job, tmp_path, ActorDiedError())
    recorder.on_trial_recover(0, [], trial)
    recorder.on_trial_start(0, [], trial)
    trial.last_result = failure()
    recorder.on_trial_result(0, [], trial, trial.last_result)
    recorder.on_trial_complete(0, [], trial)
    (again,) = recorder.again
    assert again.history == ("process or node lost; went on from the last checkpoint", "error: ValueError: no")


def test_a_mistake_of_the_driver_is_not_taken_for_the_process_that_was_lost_before_it(make, job, tmp_path):
    recorder, trial = make(), broken_trial(job, tmp_path, ActorDiedError())
    recorder.on_trial_recover(0, [], trial)
    (tmp_path / "error.txt").write_text("TypeError: in the searcher\n")
    with pytest.raises(RuntimeError, match="the driver failed on trial t: TypeError: in the searcher"):
        recorder.on_trial_recover(0, [], trial)


def broken_trial(job, folder, error):
    """As much of Ray's trial as there is after an error, with a pickle that must not be read."""
    (folder / "error.pkl").write_bytes(pickle.dumps(Bomb()))
    (folder / "error.txt").write_text(f"Failure # 1 (occurred at 2026-01-01_00-00-00)\n{error}\n")
    return SimpleNamespace(
        trial_id="t",
        max_failures=20,
        config={"job": job.to_json()},
        pickled_error_file=str(folder / "error.pkl"),
        error_file=str(folder / "error.txt"),
    )


def test_a_process_that_was_ended_counts_as_an_attempt_and_the_next_one_goes_on(make, store, job, tmp_path):
    recorder, trial = make(max_failures=1), broken_trial(job, tmp_path, ActorDiedError())
    recorder.on_trial_start(0, [], trial)
    recorder.count_attempt(trial, "no report for 9 s: its process was ended")
    assert trial.max_failures == 20, "Ray may start it again"
    recorder.on_trial_recover(0, [], trial)
    trial.last_result = report(0.5, status="completed")
    recorder.on_trial_result(0, [], trial, trial.last_result)
    recorder.on_trial_complete(0, [], trial)
    row = row_of(store, job)
    assert (row["status"], row["attempts"], row["error"]) == ("completed", 2, None)
    assert json.loads(row["history"]) == [
        "error: no report for 9 s: its process was ended; went on from the last checkpoint"
    ]


def test_after_the_last_attempt_ray_starts_a_process_that_was_ended_no_more(make, store, job, tmp_path):
    recorder, trial = make(max_failures=0), broken_trial(job, tmp_path, ActorDiedError())
    recorder.on_trial_start(0, [], trial)
    recorder.count_attempt(trial, "no report for 9 s")
    assert trial.max_failures == 0
    recorder.on_trial_error(0, [], trial)
    row = row_of(store, job)
    assert (row["status"], row["error"]) == ("failed", "no report for 9 s")


def test_a_lost_gpu_counts_as_an_attempt_and_its_text_leaves_the_row_of_the_next(make, store, job, tmp_path):
    recorder, trial = make(max_failures=1), broken_trial(job, tmp_path, RAISED)
    recorder.on_trial_start(0, [], trial)
    recorder.on_trial_result(0, [], trial, failure(error="RuntimeError: CUDA error: x") | {"device_lost": True})
    recorder.on_trial_recover(0, [], trial)
    trial.last_result = report(0.5, status="completed")
    recorder.on_trial_result(0, [], trial, trial.last_result)
    recorder.on_trial_complete(0, [], trial)
    row = row_of(store, job)
    assert (row["status"], row["error"]) == ("completed", None)
    assert json.loads(row["history"]) == ["error: RuntimeError: CUDA error: x; went on from the last checkpoint"]


def test_a_trial_that_ray_gives_up_is_failed(make, store, job, tmp_path):
    recorder = make()
    noted = [f"Failure # {number} (occurred at 2026-01-01_00-00-00)\nthe actor died, {number}\n" for number in (1, 2)]
    (tmp_path / "error.txt").write_text("".join(noted))
    trial = SimpleNamespace(trial_id="t", config={"job": job.to_json()}, error_file=str(tmp_path / "error.txt"))
    recorder.on_trial_start(0, [], trial)
    recorder.on_trial_error(0, [], trial)
    assert row_of(store, job)["error"] == "the actor died, 2"


@pytest.mark.parametrize(
    ("limits", "stops_after"), [({"fail_fast": True}, 1), ({"max_failed_trials": 2}, 2), ({}, None)]
)
def test_failed_trials_stop_a_study_at_its_limit(make, job, limits, stops_after):
    recorder = make(max_failures=0, **limits)
    for number in range(1, 4):
        play(recorder, job, failure())
        assert recorder.should_stop == (stops_after is not None and number >= stops_after)


def test_a_spent_budget_stops_the_study_and_cuts_off_every_running_trial(make, store, job):
    recorder = make(budget={"gpu_hours": 2.0})
    recorder.use(Usage(gpu_hours=1.0))  # of earlier runs
    trials = []
    for number in range(2):
        own = dataclasses.replace(job, gpus=0.5, fingerprint=f"{number}" * 16)
        trials.append(SimpleNamespace(trial_id=f"t{number}", config={"job": own.to_json()}, last_result=None))
        recorder.on_trial_start(0, [], trials[-1])
    for trial, seconds, is_spent in ((trials[0], 3000.0, False), (trials[1], 4200.0, True)):
        trial.last_result = report(0.5, status="running")
        trial.last_result["trial"]["seconds"] = seconds
        recorder.on_trial_result(0, [], trial, trial.last_result)
        assert recorder.should_stop == is_spent
    assert recorder.budget_spent == "gpu_hours 2 of 2"
    for trial in trials:
        recorder.on_trial_complete(0, [], trial)
    assert recorder.counts == {}  # neither completed nor pruned: they go on from their checkpoints
    assert store.trials() == []


def test_ended_trials_count_against_the_budget(make, store, job):
    recorder = make(budget={"cpu_hours": 1.0})
    ended = report(0.5, status="completed")
    ended["trial"]["seconds"] = 3600.0
    play(recorder, job, ended)
    assert (recorder.budget_spent, recorder.counts["completed"]) == ("cpu_hours 1 of 1", 1)
    (stored,) = store.trials()
    assert (stored.seconds, stored.cpus, stored.gpus) == (3600.0, 1.0, job.gpus)


def test_a_store_that_cannot_be_written_stops_the_study_and_is_told(make, store, job, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    recorder = make()
    monkeypatch.setattr(type(store.folder), "write", full)
    play(recorder, job, report(0.5, status="completed"))
    assert recorder.should_stop
    assert "No space" in str(recorder.write_error)
    assert recorder.counts == {}


def test_checkpoints_not_kept_are_removed_after_the_row_is_written(make, store, job):
    folder = store.checkpoints(job.digest, job.fingerprint)
    for name in ("best.pt", "last.pt"):
        folder.write(name, b"x")
    play(make(keep=["best"]), job, report(0.5, status="completed"))
    assert folder.names() == ["best.pt"]
