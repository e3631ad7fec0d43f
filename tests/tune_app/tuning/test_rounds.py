"""Which cells a study needs for the results so far."""

from search_spaces.plan import make_plan
from search_spaces.study_files import study_from
from tune_app.data import load_source
from tune_app.tuning import runner
from tune_app.tuning.rounds import cells_needed
from tune_app.tuning.runner import run_study


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
