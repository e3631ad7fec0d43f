"""What a machine remembers of its runs, and estimates that follow."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tune_app.tuning.calibration import KEPT, RAY, SPEEDS_FILE, Speeds, cost_per_trial, makespan, shape_key
from tune_app.tuning.jobs import Job
from tune_app.tuning.run_clock import RunClock, shape_of
from tune_app.tuning.store.rows import TrialRecord
from tune_app.tuning.store.writer import Stored


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_APP_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("seconds", "slots", "expected"),
    [([], 2, 0.0), ([3.0], 2, 3.0), ([1.0] * 5, 2, 3.0), ([4.0, 1.0, 1.0, 1.0], 2, 4.0), ([1.0, 1.0, 4.0], 2, 5.0)],
)
def test_makespan_fills_the_first_free_slot_in_order(seconds, slots, expected):
    assert makespan(seconds, slots) == expected


def test_cost_per_trial_is_what_the_makespan_leaves_for_each_round():
    assert cost_per_trial(6.9, [2.0] * 5, 2) == pytest.approx(0.3)
    assert cost_per_trial(5.0, [2.0] * 5, 2) == 0.0


def test_speeds_are_kept_between_runs_and_the_median_of_the_last_is_used():
    for startup in (100.0, 90.0, 7.0, 8.0, 9.0, 6.0, 30.0):
        speeds = Speeds.read()
        speeds.add_run(RAY, startup, per_trial=0.5)
        speeds.add_epochs("shape", startup / 10)
        speeds.write()
    found = Speeds.read()
    assert found.startups[RAY] == [7.0, 8.0, 9.0, 6.0, 30.0]
    assert len(found.epochs["shape"]) == KEPT
    assert (found.startup(RAY), found.epoch_seconds("shape")) == (8.0, 0.8)
    assert found.run_seconds(RAY, [10.0] * 4, 2) == pytest.approx(8.0 + 2 * 10.5)


def test_another_machine_has_speeds_of_its_own(monkeypatch):
    speeds = Speeds.read()
    speeds.add_epochs("shape", 1.0)
    speeds.write()
    monkeypatch.setattr("tune_app.tuning.calibration.processor_name", lambda: "another processor")
    assert Speeds.read().epoch_seconds("shape") is None
    Speeds.read().write()
    monkeypatch.undo()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}', "null"])
def test_a_damaged_file_counts_as_none_and_is_written_again(cache, content):
    cache.mkdir()
    (cache / SPEEDS_FILE).write_text(content)
    speeds = Speeds.read()
    assert speeds == Speeds()
    speeds.add_epochs("shape", 1.0)
    speeds.write()
    assert Speeds.read().epoch_seconds("shape") == 1.0
    assert json.loads((cache / SPEEDS_FILE).read_text())


class Run:
    """A run of trials on a clock of its own, two side by side."""

    def __init__(self, spec, task, cells, began):
        self.now = began
        self.clock = RunClock(spec, task, RAY, lambda gpus: 2, began, clock=lambda: self.now)
        self.jobs = cells

    def train(self, startup, each, more):
        self.now += startup
        for first in range(0, len(self.jobs), 2):
            records = [TrialRecord(job, cpus=1.0) for job in self.jobs[first : first + 2]]
            for record in records:
                self.clock.update(record, "started")
            self.now += each
            for record in records:
                record.epochs = {1: {"seconds": each / 2}, 2: {"seconds": each / 2}}
                record.columns["seconds"] = each
                self.clock.update(record, "completed")
            self.now += more
        self.clock.close()


def test_the_second_run_of_a_kind_is_estimated_from_the_first(spec):
    from search_spaces.plan import make_plan
    from tune_app.tasks import task_of
    from tune_app.tuning.jobs import cell_job

    jobs = [cell_job(cell, "f" * 16, 0.0) for cell in make_plan(spec).cells]
    task = task_of(spec)
    first = Run(spec, task, jobs, began=100.0)
    first.clock.expect(jobs)
    assert first.clock.estimated is None  # nothing was measured yet
    first.train(startup=9.0, each=20.0, more=1.0)
    second = Run(spec, task, jobs, began=500.0)
    second.clock.expect(jobs)
    assert second.clock.estimated == pytest.approx(9.0 + 2 * 20.5, rel=0.05)


def test_a_run_that_goes_on_with_a_trial_measures_epochs_but_no_start_up(spec):
    from search_spaces.plan import make_plan
    from tune_app.tasks import task_of
    from tune_app.tuning.jobs import cell_job

    jobs = [cell_job(cell, "f" * 16, 0.0) for cell in make_plan(spec).cells]
    run = Run(spec, task_of(spec), jobs, began=5000.0)
    run.clock.expect(jobs)
    resumed = TrialRecord(jobs[0], cpus=1.0)
    run.clock.update(resumed, "started")
    run.now += 30.0
    resumed.epochs = {1: {"seconds": 3600.0}, 2: {"seconds": 10.0}}  # the first of them in an earlier run
    resumed.columns["seconds"] = 3610.0
    run.clock.update(resumed, "completed")
    run.clock.close()
    speeds = Speeds.read()
    assert (speeds.startups, speeds.per_trial) == ({}, {})
    assert list(speeds.epochs.values()) == [[1805.0]]


def test_other_values_of_an_arm_other_data_and_another_share_are_timed_by_themselves(spec, job):
    from tune_app.tasks import task_of

    jobs = [
        job,
        replace(job, config=job.config.with_values({"seed": 7})),
        replace(job, config=job.config.with_values({"model.width": 16})),  # as in another repeat of a tuned arm
        replace(job, fingerprint="0" * 16),
        replace(job, gpus=0.5),
    ]
    Run(spec, task_of(spec), jobs, began=0.0).train(startup=1.0, each=10.0, more=0.0)
    assert len(Speeds.read().epochs) == 4  # another seed takes as long


def test_a_search_is_not_estimated_from_a_smaller_one_of_its_name(tiny_tree):
    from search_spaces.study_files import study_from
    from tune_app.tasks import task_of

    def run(**changes):
        tree = {"name": "hunt", "mode": "search", "space": {"optimizer.lr": {"loguniform": [1e-3, 1.0]}}}
        spec = study_from(tree | {"baseline": {**tiny_tree["baseline"], **changes}})
        jobs = [Job("lr=0.1", False, {}, spec.baseline, "f" * 16, 0.0)]
        found = Run(spec, task_of(spec), jobs, began=0.0)
        found.clock.expect(jobs)
        return found

    run().train(startup=1.0, each=10.0, more=0.0)
    assert run().clock.estimated is not None
    assert run(epochs=3).clock.estimated is None


def test_a_plan_does_not_take_the_time_of_a_trial_on_other_data(spec, job):
    from search_spaces.plan import make_plan
    from tune_app.cli.planning import _cell_seconds
    from tune_app.data import source_key
    from tune_app.tasks import task_of

    trial = Stored(
        job.digest,
        job.fingerprint,
        "completed",
        job.arm,
        0,
        job.config.model_dump(mode="json"),
        seconds=8.0,
        metrics={},
    )
    plan, task = make_plan(spec), task_of(spec)

    def seconds(fingerprint):
        shared = {source_key(job.config.data): SimpleNamespace(fingerprint=fingerprint)}
        store, speeds = SimpleNamespace(trials=lambda: [trial]), Speeds()
        for name in ("f" * 16, "0" * 16):
            speeds.add_epochs(shape_key(shape_of(spec, task, job.config, name), spec.resources.cpu, 0.0), 1.0)
        return _cell_seconds(spec, plan, [plan.cells[0]], store, task, shared, speeds)

    assert seconds("f" * 16) == {job.arm: 8.0}
    assert seconds("0" * 16) == {job.arm: 2.0}  # as this machine measured it on that data
