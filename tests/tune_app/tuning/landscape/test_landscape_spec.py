"""Which surface, of which trials."""

import pytest

from search_spaces.errors import StudyError
from search_spaces.study_files import study_from, study_to_store
from tests.analysis.written import train
from tune_app.tuning.landscape.compute import chosen_trials, final_cells
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
    trials, finals = store.trials(), final_cells(store)
    assert (len(trials), len(finals)) == (2 * 2 * 3 + 4, 4)
    found = chosen_trials(trials, None, all_seeds=True, finals=finals)
    assert [trial.arm for trial in found] == ["norm=batch", "norm=batch", "norm=none", "norm=none"]
    assert [trial.arm for trial in chosen_trials(trials, None, all_seeds=False, finals=finals)] == [
        "norm=batch",
        "norm=none",
    ]
    searched = next(trial for trial in trials if trial.digest not in finals)
    assert chosen_trials(trials, searched.digest, all_seeds=False, finals=finals) == [searched]
    with pytest.raises(StudyError, match="no completed final training yet"):
        chosen_trials([searched], None, all_seeds=True, finals=finals)


def test_other_studies_have_no_final_trainings(tmp_path):
    store = ResultsStore(str(tmp_path), "plain")
    assert final_cells(store) is None
    store.write_study(study_to_store(study_from({**TUNED, "tune": None, "seeds": 1})), {})
    assert final_cells(store) is None
