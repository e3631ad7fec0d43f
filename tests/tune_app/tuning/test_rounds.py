"""Which cells a study needs for the results so far."""

import signal
import subprocess
import sys

import pandas as pd
import pytest

from analysis import effects, load_study, write_report
from analysis.stats.course import study_course
from analysis.stats.sequential import SequentialPlan, decide, default_looks, trainings_used
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from
from tests.support.sequential_study import write_study
from tune_app.data import load_source
from tune_app.studies import read_study
from tune_app.tuning import runner
from tune_app.tuning.rounds import cells_ahead, cells_needed
from tune_app.tuning.runner import run_study

pytestmark = pytest.mark.slow


def test_a_plain_ablation_needs_all_its_cells_at_once_and_none_when_they_ended(spec):
    plan = make_plan(spec)
    assert cells_needed(spec, plan, {}) == list(plan.cells)
    first, *others = plan.cells
    assert cells_needed(spec, plan, {first.digest: {}}) == others
    assert cells_needed(spec, plan, {cell.digest: {"test_accuracy": 0.5} for cell in plan.cells}) == []


def test_the_runner_asks_again_after_each_round_with_the_metrics_of_the_trials_that_ended(
    tiny_tree, tmp_path, monkeypatch
):
    asked = []

    def one_more_seed(spec, plan, results):
        asked.append({digest: dict(metrics) for digest, metrics in results.items()})
        ended = [cell for cell in plan.cells if cell.digest in results]
        wanted = {cell.config.seed for cell in ended} | {len(ended) // len(plan.arms)}
        return [cell for cell in plan.cells if cell.config.seed in wanted and cell.digest not in results]

    monkeypatch.setattr(runner, "cells_needed", one_more_seed)
    diverging = {"factors": {"optimizer.lr": [0.1, 1e20]}, "seeds": 3}
    spec = study_from(tiny_tree | diverging)
    summary = run_study(spec, str(tmp_path), executor="inline")
    assert dict(summary.counts) == {"completed": 3, "diverged": 3}
    assert sorted({len(results) for results in asked}) == [0, 2, 4, 6]
    plan = make_plan(spec)
    for cell in plan.cells:
        metrics = asked[-1][cell.digest]
        assert (metrics == {}) == (cell.arm.name == "lr=1e+20")
    assert 0 <= asked[-1][plan.cells[0].digest]["test_accuracy"] <= 1
    monkeypatch.undo()
    assert run_study(spec, str(tmp_path), executor="inline").trained == 0


def test_a_cell_that_failed_in_this_run_counts_as_ended_and_is_trained_again_by_the_next(tiny_tree, tmp_path):
    spec = study_from(tiny_tree | {"max_failures": 1, "seeds": 1})
    cell = make_plan(spec).cells[0]
    fingerprint = load_source(cell.config.data).fingerprint
    blocked = tmp_path / "tiny" / "checkpoints" / f"{cell.digest}-{fingerprint}"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a folder must be")
    assert dict(run_study(spec, str(tmp_path), executor="inline").counts) == {"completed": 1, "failed": 1}
    blocked.unlink()
    again = run_study(spec, str(tmp_path), executor="inline")
    assert (again.already, dict(again.counts)) == (1, {"completed": 1})


def run(study, results, *overrides):
    return run_study(read_study(study, None, overrides), str(results), executor="inline")


def scores(results):
    trials = load_study(results / "drawn").trials
    return trials.set_index("digest")[["arm", "seed", "test_score"]].sort_index()


def course_of(study, results, *overrides):
    spec = read_study(study, None, overrides)
    stored = load_study(results / "drawn").trials
    return study_course(
        spec, make_plan(spec), {row.digest: {"test_score": row.test_score} for row in stored.itertuples()}
    )


def test_one_run_does_all_the_looks_and_trains_what_the_rule_trains(tmp_path):
    study = write_study(tmp_path)
    summary = run(study, tmp_path / "rule")
    run(study, tmp_path / "fixed", "sequential=false")
    table = load_study(tmp_path / "fixed/drawn").trials.pivot(index="arm", columns="seed", values="test_score")
    reference, *arms = [f"arm={number}" for number in range(7)]
    whole = decide(
        table.loc[arms].to_numpy() - table.loc[reference].to_numpy(), SequentialPlan(default_looks(20), rope=0.5)
    )
    assert summary.trained == trainings_used(whole) < 0.8 * 140
    found = course_of(study, tmp_path / "rule")
    assert found.complete
    assert {arm: found.decisions[arm] for arm in arms} == dict(zip(arms, whole, strict=True))
    assert run(study, tmp_path / "rule").trained == 0


def test_a_run_that_is_killed_in_the_middle_of_a_look_ends_as_if_undisturbed(tmp_path):
    study = write_study(tmp_path)
    run(study, tmp_path / "undisturbed")
    (tmp_path / "kill").touch()
    command = [sys.executable, "-c", "from tune_app.cli import main; main()", "run", str(study), "--inline"]
    killed = subprocess.run([*command, "--results", "again"], cwd=tmp_path, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert 28 <= len(scores(tmp_path / "again")) < len(scores(tmp_path / "undisturbed"))
    run(study, tmp_path / "again")
    pd.testing.assert_frame_equal(scores(tmp_path / "again"), scores(tmp_path / "undisturbed"))


def test_an_extension_keeps_what_is_trained_and_adds_what_the_new_rule_needs(tmp_path):
    study = write_study(tmp_path)
    run(study, tmp_path, "seeds=12")
    before = scores(tmp_path)
    more = run(study, tmp_path)
    after = scores(tmp_path)
    assert (more.already, more.trained) == (len(before), len(after) - len(before))
    assert more.trained > 0
    pd.testing.assert_frame_equal(after.loc[before.index], before)
    found = course_of(study, tmp_path)
    assert found.complete
    assert found.plan.looks[-1] == 20


def test_while_a_look_is_under_way_free_slots_get_cells_of_arms_that_are_certain_to_go_on(tmp_path):
    spec = read_study(write_study(tmp_path))
    plan = make_plan(spec)
    score = {
        cell.digest: {"test_score": 0.1 * ((7 * cell.config.seed + len(cell.arm.name)) % 5)} for cell in plan.cells
    }
    noisy = {"arm=1": 0.9, "arm=2": 0.8}
    results = {
        cell.digest: {
            "test_score": score[cell.digest]["test_score"] + noisy.get(cell.arm.name, 0) * (-1) ** cell.config.seed
        }
        for cell in plan.cells
        if cell.config.seed < 4 and not (cell.arm.name == "arm=6" and cell.config.seed == 3)
    }
    (needed,) = cells_needed(spec, plan, results)
    assert (needed.arm.name, needed.config.seed) == ("arm=6", 3)
    ahead = cells_ahead(spec, plan, results)
    assert {cell.config.seed for cell in ahead} == {4}
    assert {"arm=0", "arm=1", "arm=2"} <= {cell.arm.name for cell in ahead}
    assert "arm=6" not in {cell.arm.name for cell in ahead}
    assert cells_ahead(spec, plan, {}) == []
    complete = results | {needed.digest: {"test_score": 0.5}}
    going_on = {cell.arm.name for cell in cells_needed(spec, plan, complete)}
    assert {cell.arm.name for cell in ahead} <= going_on


def rounds_of(results):
    return [(len(one.seeds), one.looks) for one in load_study(results / "drawn").rounds]


def test_seeds_added_outside_a_rule_are_a_round_and_every_verdict_says_what_error_that_can_give(tmp_path):
    study = write_study(tmp_path)
    plain = "sequential=false"
    run(study, tmp_path, plain, "seeds=3")
    run(study, tmp_path, plain, "seeds=3")
    assert rounds_of(tmp_path) == [(3, None)]
    assert "seeds were added" not in " ".join(effects(load_study(tmp_path / "drawn")).words)
    run(study, tmp_path, plain, "seeds=5")
    assert rounds_of(tmp_path) == [(3, None), (5, None)]
    words = "seeds were added after results could be seen, not by a rule (3, then 5 seeds): the error can be 8."
    assert all(words in sentence for sentence in effects(load_study(tmp_path / "drawn")).words)
    assert words[1:] in write_report(load_study(tmp_path / "drawn"), tmp_path).read_text()


def test_seeds_that_are_left_out_after_they_were_trained_are_said(tmp_path):
    study = write_study(tmp_path)
    plain = "sequential=false"
    run(study, tmp_path, plain, "seeds=6")
    run(study, tmp_path, plain, "seeds=[0,2,3]")
    words = "3 seeds with stored results are left out: choosing seeds by their results makes the error larger than 5 %"
    assert all(words in sentence for sentence in effects(load_study(tmp_path / "drawn")).words)
    run(study, tmp_path, plain, "seeds=6")
    assert not any("left out" in sentence for sentence in effects(load_study(tmp_path / "drawn")).words)


def test_a_store_from_before_rounds_were_kept_has_the_seeds_of_its_study_as_first_round(tmp_path):
    study = write_study(tmp_path)
    run(study, tmp_path, "sequential=false", "seeds=3")
    (tmp_path / "drawn" / "rounds.json").unlink()
    assert load_study(tmp_path / "drawn").rounds == ()
    assert load_study(tmp_path / "drawn").problems == ()
    run(study, tmp_path, "sequential=false", "seeds=4")
    assert rounds_of(tmp_path) == [(3, None), (4, None)]


def test_a_rule_is_one_round_and_its_extension_another(tmp_path):
    study = write_study(tmp_path)
    run(study, tmp_path, "seeds=10")
    assert rounds_of(tmp_path) == [(10, default_looks(10))]
    assert "seeds were added after" not in " ".join(effects(load_study(tmp_path / "drawn")).words)
    run(study, tmp_path)
    assert rounds_of(tmp_path) == [(10, default_looks(10)), (20, default_looks(20))]
    words = "seeds were added beyond the rule after results could be seen (10, then 20 seeds): the error can be "
    assert all(words in sentence for sentence in effects(load_study(tmp_path / "drawn")).words)


def test_a_damaged_file_of_rounds_stops_the_run_with_the_remedy(tmp_path):
    study = write_study(tmp_path)
    run(study, tmp_path, "sequential=false", "seeds=2")
    (tmp_path / "drawn" / "rounds.json").write_text("[")
    with pytest.raises(StudyError, match=r"rounds\.json: not valid JSON.*; remove the file from "):
        run(study, tmp_path, "sequential=false", "seeds=3")
    results = load_study(tmp_path / "drawn")
    assert any("whether seeds were added after results could be seen is not known" in one for one in results.problems)
