"""The command line on seeds added by rule, and on the confirmation of a search."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import tune_app as api
from analysis import effects, load_study
from search_spaces.errors import StudyError
from tests.support.sequential_study import write_study
from tune_app.cli import app
from tune_app.tuning import runner
from tune_app.tuning.inline import InlineExecutor

pytestmark = pytest.mark.slow


@pytest.fixture
def tune_app(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(done.exception, StudyError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return call


def test_the_plan_shows_looks_and_expected_trainings_and_the_run_does_all_looks(tune_app, tmp_path):
    study = write_study(tmp_path)
    output = tune_app("plan", study, "--no-time")
    assert "140 cells, 0 done, 140 to train at most" in output
    assert "looks at 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20 seeds" in output
    mix = next(line for line in output.splitlines() if "a mix" in line)
    expected = float(mix.split("│")[2].split("±")[0])
    assert 0.4 * 140 < expected < 0.7 * 140
    assert "with the assumed spread of differences, sd 1, and rope 0.5" in output
    ran = tune_app("run", study, "--inline")
    trials = len(load_study(tmp_path / "results/drawn").trials)
    assert f"[{trials}/{trials}]" in ran
    again = tune_app("plan", study, "--no-time")
    assert f"{trials} cells, {trials} done, 0 to train at most" in again
    assert "with the observed spread" in again
    assert "better" in tune_app("report", study)


SEARCH = {
    "mode": "search",
    "factors": None,
    "sequential": None,
    "space": {"args.arm": [0, 1, 2, 3, 4, 5, 6]},
    "search": {"searcher": "grid", "trials": 7, "asha": None},
    "seeds": 1,
}


def test_confirm_trains_the_best_configurations_with_fresh_seeds_and_the_report_of_the_search_leads_with_it(
    tune_app, tmp_path
):
    study = write_study(tmp_path, **SEARCH)
    with pytest.raises(StudyError, match="has no results yet"):
        tune_app("confirm", study)
    tune_app("run", study, "--inline")
    assert "Trained again" not in report(tune_app, study)
    output = tune_app("confirm", study, "--top", 2, "--seeds", 6, "--inline")
    assert "trained 18 (18 completed)" in output
    found = load_study(tmp_path / "results/drawn-confirm")
    assert set(found.arms) == {"top=baseline", "top=1: arm=6", "top=2: arm=5"}
    assert set(found.trials.seed) == {1, 2, 3, 4, 5, 6}
    assert set(load_study(tmp_path / "results/drawn").trials.seed) == {0}
    table = effects(found).set_index("arm")
    assert table.verdict["top=1: arm=6"] == "better"
    page = report(tune_app, study)
    assert "Trained again with 6 fresh seeds: 2 arms compared with “top=baseline”: " in page
    assert table.words["top=1: arm=6"] in page
    more = api.confirm(str(study), "results", top=2, seeds=7, executor="inline")
    assert len(more.trials) == 21
    assert more.trials.seed.max() == 7


def report(tune_app, study):
    tune_app("report", study, "--out", "page.html")
    return Path("page.html").read_text(encoding="utf-8")


def test_confirm_takes_the_options_of_run_about_a_cluster(tune_app, tmp_path, monkeypatch):
    study = write_study(tmp_path, **SEARCH)
    tune_app("run", study, "--inline")
    with pytest.raises(StudyError, match="`--inline` trains in this process, so it takes no --address"):
        tune_app("confirm", study, "--inline", "--address", "auto")
    given = []

    def chosen(name, address, shared_folder):
        given.append((name, address, shared_folder))
        return InlineExecutor()

    monkeypatch.setattr(runner, "make_executor", chosen)
    tune_app("confirm", study, "--top", 1, "--seeds", 2, "--address", "auto", "--shared-folder")
    api.confirm(str(study), "results", top=1, seeds=2, address="auto", shared_folder=True)
    api.run(str(study), "results", address="auto", shared_folder=True)
    assert given == [("ray", "auto", True)] * 3


def test_confirm_refuses_what_it_cannot_confirm(tune_app, tmp_path):
    study = write_study(tmp_path, sequential=None, seeds=2)
    tune_app("run", study, "--inline")
    with pytest.raises(StudyError, match="'drawn' is no search, so there is nothing to confirm"):
        tune_app("confirm", study)
    search = write_study(tmp_path, **SEARCH | {"name": "other"})
    tune_app("run", search, "--inline")
    with pytest.raises(StudyError, match="`--top` is 0 and `--seeds` 5"):
        tune_app("confirm", search, "--top", 0)
