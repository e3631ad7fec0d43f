"""Runs that their budget ends, and that go on when it is raised."""

import pytest
import yaml
from typer.testing import CliRunner

from analysis import load_study
from search_spaces.study_files import study_from
from tune_app import api
from tune_app.cli import app
from tune_app.tuning.runner import run_study

TINY_BUDGET = {"cpu_hours": 1e-9}


def test_a_spent_budget_ends_the_run_in_order_and_a_raised_one_trains_the_rest(tiny_tree, tmp_path):
    whole = run_study(study_from(tiny_tree), str(tmp_path / "whole"), executor="inline")
    limited = study_from(tiny_tree | {"budget": TINY_BUDGET, "checkpoint_seconds": 0.0})
    first = run_study(limited, str(tmp_path), executor="inline")
    assert "cpu_hours" in first.budget_spent
    assert first.trained < 4
    again = run_study(limited, str(tmp_path), executor="inline")
    assert again.budget_spent
    assert first.trained + again.trained < 4
    rest = run_study(study_from(tiny_tree | {"budget": {"cpu_hours": 1.0}}), str(tmp_path), executor="inline")
    assert (rest.budget_spent, first.trained + again.trained + rest.trained) == ("", whole.trained)
    ours, theirs = (
        load_study(tmp_path / place).trials.sort_values("digest")["test_accuracy"].tolist()
        for place in ("tiny", "whole/tiny")
    )
    assert ours == theirs
    assert run_study(limited, str(tmp_path), executor="inline").budget_spent == ""  # nothing was left to train


def test_the_command_line_says_how_to_go_on(tiny_tree, tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny_tree | {"budget": TINY_BUDGET}))
    done = CliRunner().invoke(app, ["run", str(file), "--inline", "--results", str(tmp_path)])
    assert done.exit_code == 3
    assert "the budget is spent (cpu_hours" in done.output
    assert "raise `budget` and run the same command again" in done.output
    plan = CliRunner().invoke(app, ["plan", str(file), "--results", str(tmp_path)])
    assert "expected cost: 0 GPU-hours" in plan.output
    assert "the budget is too small" in plan.output


def test_the_python_api_warns(tiny_tree, tmp_path):
    tree = tiny_tree | {"budget": TINY_BUDGET, "checkpoint_seconds": 0.0}
    api.run(tiny_tree | {"seeds": 1}, tmp_path, executor="inline")
    with pytest.warns(UserWarning, match="the budget is spent"):
        api.run(tree, tmp_path, executor="inline")
    assert len(load_study(tmp_path / "tiny").trials) < 4


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_on_ray_trials_that_are_cut_off_are_not_written_as_pruned(tiny_tree, tmp_path):
    tree = tiny_tree | {"resources": {"gpu": 0.0}, "checkpoint_seconds": 0.0}
    tree["baseline"] = tree["baseline"] | {"epochs": 40}
    first = run_study(study_from(tree | {"budget": TINY_BUDGET}), str(tmp_path))
    assert first.budget_spent
    assert set(first.counts) <= {"completed"}
    rest = run_study(study_from(tree), str(tmp_path))
    assert first.trained + rest.trained == 4
    assert set(load_study(tmp_path / "tiny").trials.status) == {"completed"}
