"""A store of an earlier training version: its rows stay, none of its cells counts as done, and nothing is mixed."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from analysis import effects, load_study, write_report
from search_spaces.config.trial import IMAGE_TRAINING_VERSION
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.cli.planning import show
from tune_app.tuning.preparation import cut_off
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.writer import ResultsStore

pytestmark = pytest.mark.slow

STORES = Path(__file__).resolve().parents[2] / "stores"
_module = importlib.util.spec_from_file_location("make_fixtures", STORES / "make_fixtures.py")
fixtures = importlib.util.module_from_spec(_module)
_module.loader.exec_module(fixtures)


@pytest.fixture(params=["schema-1", "schema-2"])
def results(request, tmp_path):
    shutil.copytree(STORES / request.param, tmp_path / "results")
    return str(tmp_path / "results")


def planned(spec, results, capsys):
    show(spec, results, False, Console(width=200))
    return capsys.readouterr().out


def test_an_ablation_is_trained_again_beside_its_stored_rows(results, tmp_path, capsys):
    before = load_study(f"{results}/ablation")
    spec = study_from(fixtures.STUDIES["ablation"])
    reason = f"the built-in training changed (version {IMAGE_TRAINING_VERSION}, was 1): 6 cells to train again"
    assert reason in planned(spec, results, capsys)
    summary = run_study(spec, results, executor="inline")
    assert (summary.trained, summary.already) == (6, 0)
    assert any(reason in note for note in summary.notes)

    after = load_study(f"{results}/ablation")
    assert after.problems == ()
    assert len(after.trials) == len(after.other) == 6
    assert set(after.other["why"]) == {"trained by another version of the built-in training"}
    assert set(after.other["digest"]) == set(before.trials["digest"])
    assert not set(after.trials["digest"]) & set(before.trials["digest"])
    assert effects(after)["n"].tolist() == [3]
    assert "6 of 6" in write_report(after, tmp_path / "page").read_text(encoding="utf-8")
    again = run_study(spec, results, executor="inline")
    assert (again.trained, again.already, again.notes) == (0, 6, [])
    assert "to train again" not in planned(spec, results, capsys)


def test_a_search_starts_from_none_of_the_stored_trials(results, capsys):
    spec = study_from(fixtures.STUDIES["search"])
    reason = f"(version {IMAGE_TRAINING_VERSION}, was 1): 6 stored trials stay in the store"
    assert reason in planned(spec, results, capsys)
    summary = run_study(spec, results, executor="inline")
    assert (summary.trained, summary.already) == (6, 0)
    assert any(reason in note for note in summary.notes)
    versions = [trial.config.get("training_version", 1) for trial in ResultsStore(results, "search").trials()]
    assert sorted(versions) == [1] * 6 + [IMAGE_TRAINING_VERSION] * 6
    assert len(load_study(f"{results}/search").trials) == 6
    assert cut_off(ResultsStore(results, "search")) == []


def test_a_study_that_was_read_from_an_old_store_is_not_trained(results):
    spec = load_study(f"{results}/ablation").spec
    assert (spec.baseline.training_version, spec.baseline.data.split) == (1, "fixed")
    with pytest.raises(StudyError, match=r"of training version 1, .* trains version 2; run the study file"):
        run_study(spec, results, executor="inline")
