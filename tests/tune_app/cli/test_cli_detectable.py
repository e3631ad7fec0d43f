"""The smallest difference that `plan` prints: from the study's own spread, from similar stored studies, or assumed."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from analysis.stats.power import sd_interval, smallest_difference
from bench.make_store import write_store
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from
from tune_app.cli.detectable import TYPICAL_SPREAD, find_spread, own_spread, show_detectable, similar_spread
from tune_app.tuning.store.writer import ResultsStore

FACTORS = {"model.norm": ["batch", "none"]}


def planned(**changes):
    baseline = {"data": {"source": "digits"}, "epochs": 3} | changes
    return study_from({"name": "planned", "baseline": baseline, "factors": FACTORS, "seeds": 6})


def shown(spec, results):
    text = io.StringIO()
    store = ResultsStore(str(results), spec.name)
    plan = make_plan(spec)
    show_detectable(spec, find_spread(spec, store, str(results), plan), plan, Console(file=text, width=1000))
    return text.getvalue()


@pytest.fixture
def results(tmp_path):
    """A folder with a stored study of six seeds of two arms, three epochs, on digits."""
    write_store(tmp_path / "before", factors=FACTORS, seeds=6, epochs=3, extras=False)
    return tmp_path


def spread_of(folder):
    trials = {(t.arm, t.seed): t.metrics["test_accuracy"] for t in ResultsStore(str(folder), "before").trials()}
    arms = sorted({arm for arm, _ in trials})
    return float(np.std([trials[arms[0], seed] - trials[arms[1], seed] for seed in range(6)], ddof=1))


def test_a_similar_stored_study_gives_the_spread_and_its_interval(results):
    spec = planned(**stored_likeness(results))
    output = shown(spec, results)
    sd = spread_of(results)
    assert "spread of differences in similar studies (before)" in output
    low, high = (end * smallest_difference(6, 1.0) for end in sd_interval(sd, 6))
    figures = [float(found) for found in re.findall(r"0\.\d+", output)]
    assert figures == pytest.approx([smallest_difference(6, sd), low, high, sd], rel=0.05)  # shown with two digits


def stored_likeness(results):
    config = ResultsStore(str(results), "before").trials()[0].config
    return {"data": {key: config["data"][key] for key in ("source", "train_size")}, "epochs": config["epochs"]}


def test_a_study_of_other_data_or_other_epochs_is_not_similar(results):
    likeness = stored_likeness(results)
    assert similar_spread(planned(**likeness), str(results)) is not None
    for other in (likeness | {"epochs": 50}, likeness | {"data": {"source": "synthetic"}}):
        assert similar_spread(planned(**other), str(results)) is None
        assert f"with the assumed spread of differences, {TYPICAL_SPREAD:.4f}" in shown(planned(**other), results)


def test_the_studys_own_store_comes_first(results):
    spec = study_from({"name": "before", "baseline": stored_likeness(results), "factors": FACTORS, "seeds": 6})
    assert own_spread(spec, ResultsStore(str(results), "elsewhere"), make_plan(spec)) is None
    assert similar_spread(spec, str(results)) is None  # its own store is not a similar one
