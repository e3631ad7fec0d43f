"""A tuned ablation on the web page and in the API: its trials and final cells are planned cells."""

import shutil

import pytest

from analysis import load_study
from search_spaces.study_files import study_from
from tune_app.tuning.runner import run_study

pytestmark = pytest.mark.slow

TREE = {
    "name": "tuned",
    "baseline": {
        "data": {"source": "digits", "train_size": 40, "validation_size": 40, "test_size": 40},
        "model": {"depth": 8, "width": 4},
        "batch_size": 20,
        "epochs": 1,
        "precision": "float32",
    },
    "factors": {"model.norm": ["batch", "none"]},
    "tune": {"space": {"optimizer.lr": {"loguniform": [1e-3, 1.0]}}, "trials": 2, "repeats": 2},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    run_study(study_from(TREE), str(folder), executor="inline")
    return folder


def asked(make_site, results, path=""):
    answer = make_site(results).client("read").get(f"/api/v1/studies/tuned{path}")
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()


def without(trained, tmp_path, *digests):
    """Return a copy of the results that lacks the trials of these digests."""
    shutil.copytree(trained, tmp_path / "copy")
    for digest in digests:
        for file in (tmp_path / "copy" / "tuned" / "trials").glob(f"{digest}-*"):
            file.unlink()
    return tmp_path / "copy"


def test_trials_and_final_cells_are_planned_cells(make_site, trained):
    study = asked(make_site, trained)
    assert (study["planned"], study["ended"], study["state"]) == (2 * 2 * 3, 12, "complete")
    assert study["statement"] == "all 12 cells are finished"
    assert len(study["cells"]) == 12
    assert study["arms"][:2] == ["norm=batch", "norm=none"]
    assert {cell["seed"] for cell in study["cells"] if cell["arm"] == "norm=none"} == {1000, 1001}
    effects = asked(make_site, trained, "/effects")
    assert effects["decided"]
    assert [row["arm"] for row in effects["rows"]] == ["norm=none"]


def test_the_plan_counts_the_cells_of_each_arm(make_site, trained):
    plan = asked(make_site, trained, "/plan")
    assert (plan["cells"], plan["done"], plan["missing"], plan["new_cells"]) == (12, 12, 0, 0)
    assert [(arm["name"], arm["cells"], arm["done"]) for arm in plan["arms"]] == [
        ("norm=batch", 6, 6),
        ("norm=none", 6, 6),
    ]


def test_a_final_cell_is_missing_with_the_trial_that_it_follows_from(make_site, trained, tmp_path):
    lost = load_study(trained / "tuned").tuning.iloc[0]
    results = without(trained, tmp_path, lost["digest"])
    study = asked(make_site, results)
    assert (study["planned"], study["ended"], study["state"]) == (12, 10, "incomplete")
    assert study["statement"] == "not yet decided: 2 of 12 cells are missing"
    assert sum(cell["state"] == "missing" for cell in study["cells"]) == 2
    assert not asked(make_site, results, "/effects")["decided"]


def test_before_a_search_is_complete_there_is_no_effect_and_no_error(make_site, trained, tmp_path):
    found = load_study(trained / "tuned")
    last = found.tuning.loc[found.tuning["trial"] == 1, "digest"]
    results = without(trained, tmp_path, *last, *found.trials["digest"])
    effects = asked(make_site, results, "/effects")
    assert (effects["decided"], effects["rows"]) == (False, [])
    assert make_site(results).client("read").get("/studies/tuned").status_code == 200


def test_the_pages_show_the_study(make_site, trained):
    client = make_site(trained).client("read")
    for path in ("/studies/tuned", "/studies/tuned/trials", "/api/v1/studies/tuned/report"):
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text[:300])
    assert "12 of 12 cells finished" in client.get("/studies/tuned").text


def test_a_submitted_tuned_study_is_checked_and_planned(make_site, tmp_path):
    client = make_site(tmp_path).client("run")
    found = client.post("/api/v1/validate", json={"study": TREE}).json()
    assert (found["valid"], found["cells"]) == (True, 12)
    plan = client.post("/api/v1/plan", json={"study": TREE}).json()
    assert (plan["cells"], plan["missing"]) == (12, 12)
