from __future__ import annotations

import copy
import json

import jsonschema
import pytest
import yaml

from search_spaces import StudyError, json_schema, read_study, ready_studies, study_from
from search_spaces.config.trial import field_paths

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
ABLATION = {"name": "x", "factors": {"model.norm": ["batch", "group"]}}
SEARCH = {"name": "x", "mode": "search", "space": {"optimizer.lr": {"loguniform": [1e-3, 1]}}}

RIGHT = [
    ABLATION,
    SEARCH,
    ABLATION | {"design": "full_factorial", "seeds": 5},
    ABLATION
    | {"design": {"kind": "fractional_factorial", "generator": "a b"}, "factors": {"batch_size": [8], "epochs": [3]}},
    ABLATION | {"seeds": [3, 1], "keep": ["best", "last"], "resources": {"gpu": 0.25}},
    ABLATION | {"resources": {"gpu": "auto", "cpu": 2}, "max_failed_trials": None},
    ABLATION | {"factors": ["normalization", "depth"]},
    ABLATION | {"factors": {"recipe": {"big": {"model.depth": 20}, "ours": {}}}},
    ABLATION | {"factors": {"model.norm": {"a": {"model.norm": "layer"}}}},
    ABLATION | {"baseline": {"model": {"blocks": [1, 1]}, "schedule": {"milestones": [2]}, "data": {"path": None}}},
    ABLATION | {"sizes": {"small": {"epochs": 1, "factors.model.norm": ["group"], "seeds": 1}}},
    ABLATION | {"reference": {"source": "A", "figures": [{"arm": "norm=group", "value": 0.5}]}},
    SEARCH | {"space": ["normalization", "learning_rate"]},
    SEARCH
    | {"space": {"batch_size": [8, 16], "model.width": {"int": [8, 64, 8]}, "optimizer.lr": {"uniform": [0.1, 1]}}},
    SEARCH | {"space": {"batch_size": {"choice": [8, 16]}, "epochs": {"kind": "int", "low": 1, "high": 3}}},
    SEARCH | {"search": {"asha": None, "searcher": "random"}},
    ABLATION | {"sequential": True, "seeds": 20},
    ABLATION | {"sequential": {"looks": [2, 5], "spending": "pocock", "futility": False}},
    ABLATION | {"sequential": {"futility": 0.05}},
    ABLATION | {"tune": {"space": {"optimizer.lr": {"loguniform": [1e-3, 1]}, "batch_size": [8, 16]}}},
    ABLATION
    | {
        "tune": {
            "space": {"optimizer.lr": {"loguniform": [1e-3, 1]}},
            "trials": 4,
            "extra": {"norm=group": {"model.norm_groups": [2, 4]}},
        }
    },
]
WRONG = [
    {},
    {"name": 3},
    ABLATION | {"nme": 1},
    ABLATION | {"tune": {"space": {"optimizer.lr": {"loguniform": [1e-3]}}}},
    ABLATION | {"tune": {"space": {"optimizer.lr": {"loguniform": [1e-3, 1]}}, "searcher": "tpe"}},
    ABLATION | {"tune": {}},
    ABLATION | {"design": "full"},
    ABLATION | {"seeds": 0},
    ABLATION | {"seeds": 2.5},
    ABLATION | {"metric": "accuracy"},
    ABLATION | {"resources": {"gpu": "all"}},
    ABLATION | {"baseline": {"model": {"norm": "grup"}}},
    ABLATION | {"baseline": None},
    ABLATION | {"factors": {"model.norm": ["grup"]}},
    ABLATION | {"factors": {"model.norm": []}},
    ABLATION | {"factors": {"model.depth": 8}},
    ABLATION | {"factors": {"recipe": {"a": {"model.nrom": 1}}}},
    ABLATION | {"factors": ["normalisation"]},
    ABLATION | {"factors": ["learning_rate"]},
    ABLATION | {"sizes": {"small": {"epochs": "one"}}},
    ABLATION | {"sequential": {"spending": "linear"}},
    ABLATION | {"sequential": {"futility": 1}},
    ABLATION | {"sequential": 20},
    SEARCH | {"space": {"optimizer.lr": {"normal": [0, 1]}}},
    SEARCH | {"space": {"lr": [1]}},
    SEARCH | {"space": {"optimizer.lr": {"loguniform": [1]}}},
]


def test_schema_is_a_schema_and_plain_json():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA
    assert SCHEMA["$schema"].endswith("2020-12/schema")


def test_each_schema_is_a_new_object():
    first = json_schema()
    first["properties"].clear()
    assert json_schema() == SCHEMA


@pytest.mark.parametrize("tree", RIGHT)
def test_right_studies_are_accepted_by_schema_and_reader(tree):
    VALIDATOR.validate(tree)
    assert study_from(copy.deepcopy(tree)).name == "x"


@pytest.mark.parametrize("tree", WRONG)
def test_wrong_studies_are_refused_by_schema_and_reader(tree):
    assert not VALIDATOR.is_valid(tree)
    if "sizes" not in tree:  # which the reader of the file tries one by one
        with pytest.raises(StudyError, match="`"):
            study_from(copy.deepcopy(tree))


@pytest.mark.parametrize("name", ready_studies())
def test_ready_studies_are_accepted_as_written_and_as_the_store_writes_them(name):
    written, stored = yaml.safe_load(ready_studies()[name].read_text()), read_study(name).model_dump(mode="json")
    assert written["name"] == stored["name"] == name
    for tree in (written, stored):
        assert [error.message for error in VALIDATOR.iter_errors(tree)] == []


def test_every_field_that_can_vary_is_offered_with_its_description():
    offered = SCHEMA["$defs"]["values"]["properties"]
    assert set(offered) == set(field_paths()) - {"seed", "data.path"}
    assert all(field["description"] for field in offered.values())
    assert set(SCHEMA["properties"]["factors"]["anyOf"][0]["properties"]) == set(offered)


def test_every_key_of_a_study_is_described():
    for name, record in {"StudySpec": SCHEMA, **SCHEMA["$defs"]}.items():
        for key, field in record["properties"].items():
            assert "description" in field or key == "kind" or "$ref" in field, f"{name}.{key}"
