"""The images that a search may read."""

import numpy as np
import pytest

from search_spaces.errors import StudyError
from search_spaces.study import StudySpec
from search_spaces.study_files import study_from
from tune_app.data import source_key
from tune_app.data.arrays import image_arrays
from tune_app.tasks.image_classification import ImageClassification
from tune_app.user_code import CodeSource


def spec_of(tmp_path, space):
    (tmp_path / "images").mkdir()
    data = {"source": "folder", "path": str(tmp_path / "images"), "resolution": 16}
    return study_from({"name": "x", "mode": "search", "baseline": {"data": data}, "space": space})


@pytest.fixture
def task(monkeypatch):
    images, labels = np.zeros((40, 4, 4, 3), np.uint8), np.arange(40) % 2
    arrays = image_arrays(images, labels, images, labels, ("a", "b"))
    for module in ("image_classification", "image_planning"):
        monkeypatch.setattr(f"tune_app.tasks.{module}.load_source", lambda data, code: arrays)
    return ImageClassification()


def test_every_combination_of_the_fields_that_select_images_is_read(task, tmp_path):
    space = {"data.resolution": {"int": [8, 40, 8]}, "data.source": ["folder", "digits"], "data.train_size": [10, 20]}
    spec = spec_of(tmp_path, space)
    shared = task.prepare(spec, CodeSource())
    found = spec.search_space()
    assert len(shared) == 6
    assert shared.keys() == task.plan_shared(spec, CodeSource()).keys()
    for values in found.grid():
        config = found.config(values)
        assert source_key(config.data) in shared
        assert task.fingerprint(config, shared) == shared[source_key(config.data)].fingerprint


def test_continuous_fields_that_select_no_images_are_searched(task, tmp_path):
    spec = spec_of(tmp_path, {"data.validation_fraction": {"uniform": [0.1, 0.3]}})
    assert len(task.prepare(spec, CodeSource())) == 1


def test_a_continuous_field_that_selects_images_is_refused(task):
    data = {"source": "own_pkg.images:load", "args": {"noise": 0.1}}
    space = {"data.args.noise": {"uniform": [0.1, 0.3]}}
    spec = StudySpec.model_validate({"name": "x", "mode": "search", "baseline": {"data": data}, "space": space})
    for read in (task.prepare, task.plan_shared):
        with pytest.raises(StudyError, match=r"`space.data.args.noise` is continuous, .* list the values"):
            read(spec, CodeSource())
