"""Which stored trials a search takes for its own, without training."""

import pytest

from search_spaces.study_files import study_from
from tests.support.stored_search import write_search
from tune_app.tuning.runner import run_study

pytestmark = pytest.mark.slow


def test_a_stored_trial_whose_values_an_edited_search_refuses_is_none_of_its_trials(tmp_path):
    def tree(epochs):
        return {
            "name": "hunt",
            "mode": "search",
            "baseline": {"epochs": epochs, "schedule": {"kind": "onecycle"}},
            "space": {"schedule.kind": ["constant", "onecycle"], "schedule.warmup_epochs": [0.0, 3.0]},
            "search": {"searcher": "random", "trials": 1},
        }

    write_search(tmp_path, tree(4), [{"schedule.kind": "constant", "schedule.warmup_epochs": 3.0}])
    write_search(tmp_path, tree(2), [{"schedule.kind": "onecycle", "schedule.warmup_epochs": 0.0}])
    summary = run_study(study_from(tree(2)), str(tmp_path), executor="inline")
    assert (summary.already, summary.trained) == (1, 0)
