"""`make bench`, store: its study is accepted at full size."""

from __future__ import annotations

from bench.store import TRIALS, study
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec


def test_the_study_of_the_measurement_is_accepted_and_has_as_many_cells_as_trials_are_wanted():
    assert len(make_plan(StudySpec.model_validate({"name": "many", **study(TRIALS)})).cells) == TRIALS
