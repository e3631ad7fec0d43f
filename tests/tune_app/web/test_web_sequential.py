"""A sequential study in the API: no verdict between looks, and an arm that stopped is complete."""

import shutil

import pytest

from analysis import load_study
from tests.support.sequential_study import write_study
from tests.support.stored_trials import remove_trials
from tune_app.studies import read_study
from tune_app.tuning.runner import run_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequential")
    run_study(read_study(write_study(folder)), str(folder / "results"), executor="inline")
    return folder / "results"


def asked(make_site, results, path=""):
    answer = make_site(results).client("read").get(f"/api/v1/studies/drawn{path}")
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()


def test_when_all_arms_stopped_the_study_is_complete_with_the_cells_that_it_took(make_site, trained):
    trials = load_study(trained / "drawn").trials
    study = asked(make_site, trained)
    assert (study["state"], study["planned"], study["ended"]) == ("complete", len(trials), len(trials))
    assert len(trials) < 140
    assert study["statement"] == f"all {len(trials)} cells are finished"
    effects = asked(make_site, trained, "/effects")
    assert effects["decided"]
    assert {row["arm"] for row in effects["rows"]} == set(trials["arm"]) - {effects["rows"][0]["reference"]}
    assert all("look" in row["words"] for row in effects["rows"])
    plan = asked(make_site, trained, "/plan")
    assert sum(arm["cells"] - arm["done"] for arm in plan["arms"]) == plan["missing"] == 0


@pytest.mark.parametrize(("seeds", "stage"), [(2, "look 1 of 12"), (5, "look 3 of 12")])
def test_between_looks_it_says_which_look_is_next_and_shows_no_figure(make_site, trained, tmp_path, seeds, stage):
    shutil.copytree(trained, tmp_path / "copy")
    remove_trials(tmp_path / "copy/drawn", lambda row: row["seed"] >= seeds)
    study = asked(make_site, tmp_path / "copy")
    assert study["state"] == "incomplete"
    assert study["statement"].startswith(f"{stage}; not yet decided: ")
    assert {cell["state"] for cell in study["cells"]} == {"completed", "missing"}
    effects = asked(make_site, tmp_path / "copy", "/effects")
    assert (effects["decided"], effects["rows"]) == (False, [])
    assert effects["statement"] == study["statement"]
    assert effects["missing"] > 0
