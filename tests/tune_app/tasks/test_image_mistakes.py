"""Mistakes in the images of a study are found before anything is trained."""

from unittest.mock import Mock

import pytest

from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.data import make_splits
from tune_app.tasks import image_data, task_of
from tune_app.user_code import CodeSource

NORMS = {"factors": {"model.norm": ["batch", "none", "layer"]}}
TOO_MANY = "`data.train_size` is 5000, but there are only 1198 images"
TOO_FEW = "`data.validation_fraction` 0.005 gives 7 validation images for 10 classes; raise it"


def read(verb, study):
    spec = study_from({"name": "x", **study})
    return getattr(task_of(spec), verb)(spec, CodeSource())


@pytest.mark.parametrize("verb", ["prepare", "plan_shared"])
@pytest.mark.parametrize(
    ("study", "message"),
    [
        (NORMS | {"baseline": {"data": {"train_size": 5000}}}, TOO_MANY),
        (NORMS | {"baseline": {"data": {"validation_fraction": 0.005}}}, TOO_FEW),
        ({"factors": {"data.train_size": [500, 5000]}}, TOO_MANY),
        ({"mode": "search", "space": {"data.validation_fraction": {"uniform": [0.005, 0.3]}}}, TOO_FEW),
        (
            {"mode": "search", "space": {"data.source": ["digits"], "data.train_size": {"int": [100, 5000, 100]}}},
            TOO_MANY,
        ),
    ],
)
def test_a_split_that_cannot_be_made_is_refused_before_a_run_and_in_a_plan(verb, study, message):
    with pytest.raises(StudyError) as error:
        read(verb, study)
    assert message in str(error.value)


def test_sizes_of_the_baseline_that_a_search_replaces_are_no_mistake():
    search = {"mode": "search", "space": {"data.train_size": [100, 200]}, "baseline": {"data": {"train_size": 5000}}}
    assert list(read("prepare", search)) == ["digits"]


def test_arms_that_differ_in_no_image_are_split_once(monkeypatch):
    made = Mock(side_effect=make_splits)
    monkeypatch.setattr(image_data, "make_splits", made)
    read("plan_shared", NORMS)
    assert made.call_count == 1
    read("plan_shared", {"factors": {"data.resolution": [8, 16], "data.train_size": [200]}})
    assert made.call_count == 3
