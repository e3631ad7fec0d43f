"""`make bench`, concurrency: its studies are accepted, and the overlap of trials is counted."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.concurrency import TRIAL_SECONDS, running_at_once, study
from search_spaces.study_files import study_from
from tune_app.tasks import task_of
from tune_app.user_code import code_source


@pytest.mark.parametrize("mode", ["ablation", "search"])
@pytest.mark.parametrize("seconds", TRIAL_SECONDS)
def test_a_run_accepts_the_study_of_every_length_and_mode(mode, seconds):
    spec = study_from(study(mode, seconds, 4))
    assert task_of(spec).prepare(spec, code_source(spec, ship=False))
    assert spec.baseline.data.train_size / 100 == pytest.approx(seconds)


def test_the_overlap_of_trials_is_counted_from_their_ends_and_lengths():
    began = pd.Timestamp("2026-01-01")
    ends = [began + pd.Timedelta(seconds=seconds) for seconds in (2, 3, 6)]
    trials = pd.DataFrame({"finished_at": ends, "seconds": [2.0, 2.0, 1.0]})
    assert running_at_once(trials) == {1: 3.0, 2: 1.0, 0: 2.0}
