"""Out of memory, on a real Ray with a GPU in name only."""

import json
import sys

import pytest
from ray import cloudpickle

from analysis import load_study
from search_spaces.study_files import study_from
from tune_app.tuning import runner, tuner
from tune_app.tuning.trainable import CellTrainable

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


class Hungry(CellTrainable):
    """Needs a whole GPU for seed 1."""

    def step(self):
        if self._runner.job.config.seed == 1 and self._runner.job.gpus < 1:
            return self._runner.failed("out_of_memory")
        return super().step()


def test_what_runs_out_of_memory_is_tried_again_alone_at_twice_the_share(tiny_tree, tmp_path, monkeypatch):
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(tuner, "CellTrainable", Hungry)
    summary = runner.run_study(study_from(tiny_tree | {"resources": {"gpu": 0.5}, "max_failures": 0}), str(tmp_path))
    assert dict(summary.counts) == {"completed": 4}
    trials = load_study(tmp_path / "tiny").trials
    assert trials.groupby("seed").gpus.unique().map(list).to_dict() == {0: [0.5], 1: [1.0]}
    assert set(trials[trials.seed == 1].attempts) == {2}
    history = json.loads(trials[trials.seed == 1].history.iloc[0])
    assert history == ["out of memory with 0.5 of a GPU; tried again with 1"]
