"""Mistakes in the images of a study are found before anything is trained."""

from itertools import product
from unittest.mock import Mock

import pytest
from PIL import Image

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


def wide(folder):
    """Write a folder source of images that are 12 pixels wide and 8 high."""
    for split, name in product(("train", "test"), ("dark", "light")):
        (folder / split / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (12, 8), 100 * (name == "light") + number).save(folder / split / name / f"{number}.png")
    return {"source": "folder", "path": str(folder)}


@pytest.mark.parametrize("verb", ["prepare", "plan_shared"])
@pytest.mark.parametrize("family", ["cnn", "timm:test_vit"])
def test_images_that_are_not_square_are_refused_for_a_network_that_needs_squares(verb, family, tmp_path):
    data = wide(tmp_path / "images")
    ablation = {"baseline": {"data": data}, "factors": {"model.family": ["resnet", family]}}
    search = {"mode": "search", "baseline": {"data": data}, "space": ablation["factors"]}
    for study in (ablation, search):
        with pytest.raises(StudyError, match=rf"8 pixels high and 12 wide, .*{family}.*`data.resolution`, .* 8$"):
            read(verb, study)
        square = {"data": data | {"resolution": 16}}
        assert len(read(verb, study | {"baseline": square})) == 1
    assert len(read(verb, {"baseline": {"data": data}, "factors": {"model.family": ["plain", "densenet"]}})) == 1
    assert len(read(verb, search | {"space": search["space"] | {"data.resolution": [8, 16]}})) == 3
