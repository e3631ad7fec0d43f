"""Which configurations of a search `confirm` trains again."""

from dataclasses import replace

import pytest

from analysis import load_study
from bench.make_store import write_store
from tune_app.confirmation import best_configurations, confirmation_study

pytestmark = pytest.mark.slow


def test_what_differs_from_the_baseline_in_a_field_without_effect_is_the_baseline(tmp_path):
    space = {"model.norm": ["batch", "group"], "model.norm_groups": [4, 16]}
    grid = {"searcher": "grid", "asha": None}
    found = load_study(write_store(tmp_path / "s", space=space, trials=4, epochs=2, extras=False, search=grid))
    assert (found.trials["model.norm"] == "batch").any()
    best = best_configurations(found.spec, found, 4)
    assert {values["model.norm"] for values in best.values()} == {"group"}
    assert confirmation_study(found.spec, found, 4, 3).factors["top"] == best


def test_null_and_the_number_that_it_stands_for_are_one_configuration(tmp_path):
    grid = {"searcher": "grid", "asha": None}
    space = {"model.width": [None, 16, 32], "batch_size": [32, 128]}
    found = load_study(write_store(tmp_path / "s", space=space, epochs=2, extras=False, search=grid))
    found = replace(found, trials=found.trials.assign(status="completed"))
    assert len(found.trials) == 6
    best = best_configurations(found.spec, found, 6)
    assert len(best) == 3
    assert confirmation_study(found.spec, found, 6, 3).factors["top"] == best
