"""Which surface, of which trials."""

from dataclasses import replace

import pytest

from search_spaces.errors import StudyError
from search_spaces.study_files import study_from, study_to_store
from tests.analysis.written import train
from tune_app.tuning.landscape import compute
from tune_app.tuning.landscape.chosen import chosen_trials, current_arms
from tune_app.tuning.landscape.task import SurfaceSpec
from tune_app.tuning.store.writer import ResultsStore, Stored


def stored(digest, arm, seed, status="completed"):
    return Stored(digest, "f" * 16, status, arm, seed, config={}, seconds=None, metrics={})


TRIALS = [
    stored("b1", "norm=none", 1),
    stored("b0", "norm=none", 0, "diverged"),
    stored("a1", "baseline", 1),
    stored("a0", "baseline", 0),
]


def test_the_axis_is_symmetric_with_the_trained_weights_exactly_in_its_middle():
    axis = SurfaceSpec(points=51, reach=0.7).axis
    assert (len(axis), axis[0], axis[25], axis[-1]) == (51, -0.7, 0.0, 0.7)
    assert [-x for x in reversed(axis)] == list(axis)
    assert axis[26] == pytest.approx(0.028)


def test_surfaces_that_differ_have_different_names():
    changes = [{}, {"points": 3}, {"reach": 1.0000001}, {"split": "val"}, {"images": 9}, {"seed": 1}]
    changes += [{"orthogonal": True}, {"shared": True}]
    names = [SurfaceSpec(**change).name for change in changes]
    assert names[0] == "seed0-range1.0-points51-test"
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("change", "place"), [({"points": 50}, "--points"), ({"points": 1}, "--points")])
def test_a_grid_without_a_middle_is_refused(change, place):
    with pytest.raises(StudyError, match=place):
        SurfaceSpec(**change)


@pytest.mark.parametrize("reach", [0.0, -1.0, float("nan"), float("inf")])
def test_a_range_that_is_none_is_refused(reach):
    with pytest.raises(StudyError, match="--range"):
        SurfaceSpec(reach=reach)


def test_the_first_completed_seed_stands_for_its_arm():
    assert [trial.digest for trial in chosen_trials(TRIALS, None, all_seeds=False)] == ["a0", "b1"]
    assert [trial.digest for trial in chosen_trials(TRIALS, None, all_seeds=True)] == ["a0", "a1", "b1"]


def test_a_trial_is_named_by_the_beginning_of_its_digest():
    assert [trial.digest for trial in chosen_trials(TRIALS, "b", all_seeds=False)] == ["b1"]
    with pytest.raises(StudyError, match="more than one"):
        chosen_trials(TRIALS, "a", all_seeds=False)
    with pytest.raises(StudyError, match="is no completed trial"):
        chosen_trials(TRIALS, "b0", all_seeds=False)
    with pytest.raises(StudyError, match="no completed trial yet"):
        chosen_trials(TRIALS[1:2], None, all_seeds=False)


TUNED = {
    "name": "tuned",
    "baseline": {"data": {"source": "digits"}, "model": {"depth": 8, "norm": "batch"}, "epochs": 1},
    "factors": {"model.norm": ["batch", "none"]},
    "tune": {"space": {"optimizer.lr": {"loguniform": [0.001, 1.0]}}, "trials": 3, "repeats": 2},
}


def test_of_a_tuned_ablation_the_final_trainings_are_taken_and_no_trial_of_a_search(tmp_path):
    train(tmp_path, TUNED)
    store = ResultsStore(str(tmp_path), "tuned")
    trials, arms = store.trials(), current_arms(store)
    assert (len(trials), len(arms)) == (2 * 2 * 3 + 4, 4)
    found = chosen_trials(trials, None, all_seeds=True, arms=arms)
    assert [trial.arm for trial in found] == ["norm=batch", "norm=batch", "norm=none", "norm=none"]
    assert [trial.arm for trial in chosen_trials(trials, None, all_seeds=False, arms=arms)] == [
        "norm=batch",
        "norm=none",
    ]
    searched = next(trial for trial in trials if trial.digest not in arms)
    assert chosen_trials(trials, searched.digest, all_seeds=False, arms=arms) == [searched]
    with pytest.raises(StudyError, match="has a completed training yet"):
        chosen_trials([searched], None, all_seeds=True, arms=arms)


PLAIN = {
    "name": "plain",
    "baseline": TUNED["baseline"],
    "factors": {"model.norm": ["batch", "none"]},
    "seeds": 2,
}


def test_of_an_ablation_the_cells_that_it_has_now_are_taken_with_their_present_arms(tmp_path):
    store = ResultsStore(str(tmp_path), "plain")
    assert current_arms(store) is None
    train(tmp_path, PLAIN)
    train(tmp_path, PLAIN | {"baseline": {**PLAIN["baseline"], "epochs": 2}, "seeds": 1})
    found = chosen_trials(store.trials(), None, all_seeds=True, arms=current_arms(store))
    assert [(trial.arm, trial.config["epochs"]) for trial in found] == [("norm=batch", 2), ("norm=none", 2)]
    train(tmp_path, PLAIN | {"factors": {"model.norm": ["batch", "none"], "batch_size": [128, 64]}})
    found = chosen_trials(store.trials(), None, all_seeds=False, arms=current_arms(store))
    assert [(trial.arm, trial.seed) for trial in found] == [("baseline", 0), ("batch_size=64", 0), ("norm=none", 0)]
    outdated = next(trial for trial in store.trials() if trial.config["epochs"] == 2)
    assert chosen_trials(store.trials(), outdated.digest, all_seeds=False) == [outdated]
    with pytest.raises(StudyError, match="no arm of this study, as it is now, has a completed training yet"):
        chosen_trials([outdated], None, all_seeds=True, arms=current_arms(store))


def test_of_two_versions_of_the_data_the_one_that_most_trials_have_is_taken(tmp_path):
    train(tmp_path, PLAIN)
    train(tmp_path, PLAIN | {"seeds": 1}, fingerprint="0" * 16)
    train(tmp_path, PLAIN)
    store = ResultsStore(str(tmp_path), "plain")
    trials = store.trials()
    found = chosen_trials(trials, None, all_seeds=True, arms=current_arms(store))
    assert (len(trials), [trial.fingerprint for trial in found]) == (6, ["f" * 16] * 4)
    (latest,) = chosen_trials(trials, found[0].digest, all_seeds=False)
    assert (latest.digest, latest.fingerprint) == (found[0].digest, "0" * 16)


def test_a_search_has_no_arms_and_a_study_that_cannot_be_planned_is_named(tmp_path):
    search = {"name": "hunt", "mode": "search", "baseline": PLAIN["baseline"], "space": TUNED["tune"]["space"]}
    store = ResultsStore(str(tmp_path), "hunt")
    store.write_study(study_to_store(study_from(search)), {})
    assert current_arms(store) is None
    store.folder.write("study.yaml", b"name: hunt\nfactors: {model.nrom: [batch, none]}\n")
    with pytest.raises(StudyError, match=r"study.yaml: .*nrom.*name one trial by `--cell`"):
        current_arms(store)


@pytest.mark.parametrize(
    ("cluster", "share"), [({"memory": 1e9}, 0.5), ({"CPU": 4.0}, 0.0), ({"CPU": 4.0, "GPU": 1.0}, 0.25)]
)
def test_on_a_cluster_that_has_started_no_machine_auto_is_the_share_that_the_trials_had(
    tmp_path, monkeypatch, cluster, share
):
    train(tmp_path, PLAIN)
    store = ResultsStore(str(tmp_path), "plain")
    shares = (None, 0.25, 0.5, 0.25)
    trials = [replace(trial, gpus=gpus) for trial, gpus in zip(store.trials(), shares, strict=True)]
    monkeypatch.setattr(compute, "cluster_resources", lambda: cluster)
    assert compute._gpus(store, "auto", trials) == share
