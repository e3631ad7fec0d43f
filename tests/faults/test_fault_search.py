"""A killed search goes on as if it had not been: what the searcher and ASHA's rungs know after a resume."""

import math
from types import SimpleNamespace

import optuna
import pytest
from drivers import TINY

from search_spaces.study_files import study_from
from search_spaces.study_parts import Asha
from tune_app.tuning.jobs import Job
from tune_app.tuning.schedulers import SerialAsha, ray_scheduler
from tune_app.tuning.searchers import FINISHED, OptunaSearcher

SPACE = {"optimizer.lr": {"loguniform": [1e-4, 1.0]}, "model.norm": ["batch", "none"]}
OPTIMUM = 0.03


def spec(searcher="tpe", trials=30, space=SPACE, seed=0):
    return study_from(
        {
            "name": "s",
            "mode": "search",
            "baseline": TINY | {"epochs": 9},
            "space": space,
            "search": {"searcher": searcher, "trials": trials, "seed": seed},
            "seeds": 1,
        }
    )


def searcher_of(study, mode="max"):
    def job(config, values):
        return Job("arm", False, {}, config, "f" * 16, 0.0)

    return OptunaSearcher(study.search_space(), study.search, mode, job)


def accuracy(config):
    """An objective with a known optimum: lr 0.03 with batch norm."""
    distance = math.log10(config.optimizer.lr) - math.log10(OPTIMUM)
    return math.exp(-(distance**2)) - 0.1 * (config.model.norm == "none")


def train(searcher, store, until=None):
    """Train what is proposed; the store is what a killed search leaves: (values, digest) -> outcome."""
    while until is None or len(store) < until:
        name = f"t{len(store)}"
        proposed = searcher.suggest(name)
        if proposed == FINISHED:
            return
        config = Job.from_json(proposed["job"]).config
        values = {path: config.get(path) for path in searcher._space.domains}
        assert config.digest() not in store, "trained twice"
        diverges = config.optimizer.lr > 0.5
        curve = {} if diverges else {1: accuracy(config) / 2, 2: accuracy(config)}
        store[config.digest()] = (values, "diverged" if diverges else "completed", curve)
        for epoch, value in curve.items():
            searcher.on_trial_result(name, {"epoch": epoch, "objective": value, "status": "running"})
        last = {"epoch": 2, "status": "diverged" if diverges else "completed"}
        searcher.on_trial_complete(name, last | ({"objective": curve[2]} if curve else {}))


def taught(study, store):
    searcher = searcher_of(study)
    for digest, (values, status, curve) in store.items():
        searcher.learn(values, digest, status, curve)
    return searcher


def winner(store):
    return max((max(curve.values()) for _, _, curve in store.values() if curve), default=-math.inf)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_resumed_tpe_search_ends_near_the_optimum_and_never_worse_than_before(seed):
    study, store = spec(seed=seed), {}
    train(searcher_of(study), store, until=12)
    before = winner(store)
    train(taught(study, store), store)
    assert len(store) == 30
    assert winner(store) >= before
    assert winner(store) > 0.95


@pytest.mark.parametrize(
    ("status", "curve", "state", "value", "reported"),
    [
        ("completed", {1: 0.5, 2: 0.75, 3: 0.6}, optuna.trial.TrialState.COMPLETE, 0.75, {1: 0.5, 2: 0.75, 3: 0.6}),
        ("pruned", {1: 0.25}, optuna.trial.TrialState.PRUNED, 0.25, {1: 0.25}),
        ("diverged", {1: 0.9}, optuna.trial.TrialState.PRUNED, None, {}),
        ("failed", {1: 0.9}, optuna.trial.TrialState.FAIL, None, {}),
    ],
)
def test_optuna_gets_the_same_report_of_a_stored_trial_as_of_one_just_trained(status, curve, state, value, reported):
    live, stored = searcher_of(spec()), searcher_of(spec())
    config = Job.from_json(live.suggest("t")["job"]).config
    for epoch, objective in curve.items():
        live.on_trial_result("t", {"epoch": epoch, "objective": objective})
    live.on_trial_complete("t", {"epoch": 9, "status": "running" if status == "pruned" else status})
    stored.learn({path: config.get(path) for path in SPACE}, config.digest(), status, curve)
    (one,), (other,) = live._study.trials, stored._study.trials
    assert (one.state, one.intermediate_values, one.params) == (other.state, other.intermediate_values, other.params)
    assert (one.state, one.intermediate_values) == (state, reported)
    assert one.value == other.value or state == optuna.trial.TrialState.PRUNED
    if state == optuna.trial.TrialState.COMPLETE:
        assert one.value == value


def test_tpe_keeps_away_from_where_training_diverges():
    study = spec(trials=60)
    searcher, store = searcher_of(study), {}
    train(searcher, store)
    lrs = [values["optimizer.lr"] for values, _, _ in store.values()]
    assert sum(lr > 0.5 for lr in lrs[20:]) <= 2


@pytest.mark.parametrize("searcher", ["tpe", "random"])
def test_a_small_space_is_exhausted_each_config_once(searcher):
    space = {"model.norm": ["batch", "none"], "batch_size": [10, 20, 30], "optimizer.lr": [0.1, 0.2]}
    study, store = spec(searcher, trials=100, space=space), {}
    train(searcher_of(study), store, until=5)
    train(taught(study, store), store)
    assert len(store) == 12


def test_a_grid_goes_on_where_it_was_killed_and_twins_count_once():
    space = {"model.norm": ["batch", "none"], "batch_size": [10, 20, 30]}
    study, store = spec("grid", trials=100, space=space), {}
    train(searcher_of(study), store, until=2)
    train(taught(study, store), store)
    assert len(store) == 6
    twins = {"model.norm": ["batch", "none"], "model.norm_groups": [1, 2]}  # norm_groups means nothing to these norms
    again = {}
    train(searcher_of(spec("grid", trials=100, space=twins)), again)
    assert len(again) == 2


@pytest.mark.parametrize("searcher", ["tpe", "grid"])
def test_a_trial_that_was_cut_off_goes_first_and_counts_once(searcher):
    space = {"model.norm": ["batch", "none"], "batch_size": [10, 20, 30, 40, 50, 60, 70, 80]}
    study, store = spec(searcher, trials=100, space=space), {}
    train(searcher_of(study), store, until=12)
    resumed = taught(study, store)
    values = next(v for v in study.search_space().grid() if study.search_space().config(v).digest() not in store)
    resumed.put_first(values)
    train(resumed, store)
    assert len(store) == 16
    assert searcher == "grid" or [v for v, _, _ in store.values()][12] == values


def test_a_config_that_is_being_trained_is_not_proposed_again():
    searcher = searcher_of(spec("random", space={"batch_size": [10, 20]}))
    digests = [Job.from_json(searcher.suggest(name)["job"]).digest for name in "ab"]
    assert len(set(digests)) == 2
    assert searcher.suggest("c") == FINISHED


class Tune:
    """As much of Ray Tune as a scheduler is given."""


def decisions(scheduler, curves, first=0):
    """Return what the scheduler decides of each report, trials taking turns as they do when run side by side."""
    found = {}
    trials = {number: SimpleNamespace(trial_id=f"t{number}", config={}) for number in curves}
    for trial in trials.values():
        scheduler.on_trial_add(Tune(), trial)
    for number, curve in curves.items():
        for epoch, value in curve.items():
            result = {"epoch": epoch, "objective": value}
            decision = scheduler.on_trial_result(Tune(), trials[number], result)
            found[number, epoch] = decision
            if decision == "STOP":
                break
    return found


@pytest.mark.parametrize("mode", ["max", "min"])
def test_after_a_resume_asha_cuts_where_an_undisturbed_one_would(mode):
    asha = Asha(grace_period=1, reduction_factor=3)
    curves = {n: {epoch: math.sin(7 * n) + 0.1 * epoch for epoch in range(1, 10)} for n in range(24)}
    undisturbed = ray_scheduler(asha, 9, mode)
    all_at_once = decisions(undisturbed, curves)
    first = {n: curve for n, curve in curves.items() if n < 12}
    before = decisions(ray_scheduler(asha, 9, mode), first)
    kept = [{epoch: curves[n][epoch] for epoch in range(1, 10) if (n, epoch) in before} for n in first]
    resumed = ray_scheduler(asha, 9, mode, kept)
    after = decisions(resumed, {n: curve for n, curve in curves.items() if n >= 12})
    assert before | after == all_at_once
    assert [sorted(rung.recorded.values()) for rung in rungs_of(resumed)] == [
        sorted(rung.recorded.values()) for rung in rungs_of(undisturbed)
    ]
    assert "STOP" in after.values()


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_serial_asha_decides_as_ray_s_does(mode):
    asha = Asha(grace_period=2, reduction_factor=3)
    curves = {n: {epoch: math.sin(7 * n) + 0.1 * epoch for epoch in range(1, 21)} for n in range(40)}
    known = [{2: 0.3, 6: 0.5}, {2: -0.4}]
    expected = decisions(ray_scheduler(asha, 20, mode, known), curves)
    serial, found = SerialAsha(asha, 20, mode, known), {}
    for number, curve in curves.items():
        for epoch, value in curve.items():
            stops = serial.stops(f"t{number}", epoch, value)
            found[number, epoch] = "STOP" if stops else "CONTINUE"
            if stops:
                break
    assert found == expected
    assert "STOP" in found.values()


def rungs_of(scheduler):
    return [SimpleNamespace(recorded=recorded) for bracket in scheduler._brackets for _, recorded in bracket._rungs]
