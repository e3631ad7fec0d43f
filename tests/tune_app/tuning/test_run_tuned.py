"""Tuned ablations trained for real, in this process: rounds, interruption, extension, losses."""

import json
import signal
import subprocess
import sys

import pytest

from analysis import effects, load_study
from analysis.stats.tuned import tuned_comparison
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.writer import ResultsStore

pytestmark = pytest.mark.slow

TUNE = {"space": {"optimizer.lr": {"loguniform": [1e-3, 1.0]}}, "trials": 3, "repeats": 2}


@pytest.fixture
def tuned_tree(tiny_tree):
    return {key: value for key, value in tiny_tree.items() if key != "seeds"} | {"tune": TUNE}


def run(tree, folder, **tune):
    return run_study(study_from(tree | {"tune": tree["tune"] | tune}), str(folder), executor="inline")


def figures(folder):
    found = load_study(folder / "tiny")
    assert found.problems == ()
    key = ["arm", "repeat", "trial", "test_accuracy", "val_accuracy", "optimizer.lr"]
    return found.trials[key].to_dict("records"), found.tuning[key].to_dict("records")


def test_one_run_trains_the_searches_and_then_the_best_of_each(tuned_tree, tmp_path):
    summary = run(tuned_tree, tmp_path)
    assert (summary.trained, summary.already, dict(summary.counts)) == (2 * 2 * 4, 0, {"completed": 16})
    found = load_study(tmp_path / "tiny")
    assert (len(found.trials), len(found.tuning), len(found.other)) == (4, 12, 0)
    for (arm, repeat), group in found.tuning.groupby(["arm", "repeat"]):
        best = group.sort_values("trial").iloc[group.sort_values("trial")["val_accuracy"].to_numpy().argmax()]
        final = found.trials[(found.trials["arm"] == arm) & (found.trials["repeat"] == repeat)].iloc[0]
        assert (final["trial"], final["seed"]) == (best["trial"], 1000 + repeat)
    assert tuned_comparison(found)["tuned_n"].tolist() == [2]
    again = run(tuned_tree, tmp_path)
    assert (again.trained, again.already) == (0, 16)


def test_a_number_of_trials_that_was_changed_after_results_is_said(tuned_tree, tmp_path):
    run(tuned_tree, tmp_path)
    assert "tuning trials" not in " ".join(effects(load_study(tmp_path / "tiny")).words)
    run(tuned_tree, tmp_path, trials=4)
    words = "the number of tuning trials was changed after results could be seen (3, then 4)"
    assert all(words in sentence for sentence in effects(load_study(tmp_path / "tiny")).words)


def test_more_repeats_and_more_trials_train_only_what_is_new_and_agree_with_one_run(tuned_tree, tmp_path):
    run(tuned_tree, tmp_path / "a")
    more = run(tuned_tree, tmp_path / "a", repeats=3)
    assert (more.trained, more.already) == (2 * 4, 16)
    larger = run(tuned_tree, tmp_path / "a", repeats=3, trials=4)
    changed = larger.trained - 2 * 3
    assert 0 <= changed <= 6  # final cells of the searches that found a better value
    run(tuned_tree, tmp_path / "b", repeats=3, trials=4)
    assert figures(tmp_path / "a") == figures(tmp_path / "b")
    assert len(load_study(tmp_path / "a" / "tiny").other) == changed


KILLED = """
import json, os, signal, sys
from search_spaces.study_files import study_from
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.writer import ResultsStore

written, write = [], ResultsStore.write_trial

def killing(store, row, tables, metrics):
    write(store, row, tables, metrics)
    written.append(row)
    if len(written) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

ResultsStore.write_trial = killing
run_study(study_from(json.loads(sys.argv[1])), sys.argv[2], executor="inline")
"""


@pytest.mark.parametrize("trials", [5, 15])
def test_a_run_that_is_killed_goes_on_to_the_same_result(tuned_tree, tmp_path, trials):
    command = [sys.executable, "-c", KILLED, json.dumps(tuned_tree), str(tmp_path / "cut"), str(trials)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    summary = run(tuned_tree, tmp_path / "cut")
    assert (summary.already, summary.trained) == (trials, 16 - trials)
    run(tuned_tree, tmp_path / "whole")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


def test_diverged_trials_count_against_the_budget(tuned_tree, tmp_path):
    tree = tuned_tree | {"tune": TUNE | {"space": {"optimizer.lr": [1e20, 1e25]}, "trials": 4, "repeats": 1}}
    summary = run(tree, tmp_path)
    found = load_study(tmp_path / "tiny")
    assert summary.counts["diverged"] == (found.tuning["status"] == "diverged").sum() == 4
    assert (found.trials["trial"] == 0).all()
    assert (found.trials["status"] == "completed").all()


def test_a_search_without_any_result_trains_its_first_trial_again_so_that_the_loss_is_recorded(tuned_tree, tmp_path):
    tree = tuned_tree | {"tune": TUNE | {"space": {"optimizer.lr": [1e20, 1e25]}, "trials": 2, "repeats": 1}}
    tree |= {"baseline": tree["baseline"] | {"optimizer": {"lr": 1e22}}}
    run(tree, tmp_path)
    found = load_study(tmp_path / "tiny")
    assert found.trials["status"].tolist() == ["diverged", "diverged"]
    assert found.trials["trial"].tolist() == [0, 0]


def test_rows_of_the_store_say_what_was_trained(tuned_tree, tmp_path):
    run(tuned_tree, tmp_path, repeats=1, trials=2)
    spec = study_from(tuned_tree | {"tune": TUNE | {"repeats": 1, "trials": 2}})
    stored = {trial.digest: trial for trial in ResultsStore(str(tmp_path), "tiny").trials()}
    plan = make_plan(spec)
    assert {cell.digest for cell in plan.cells} < set(stored)
    assert [stored[cell.digest].arm for cell in plan.cells] == [cell.arm.name for cell in plan.cells]
