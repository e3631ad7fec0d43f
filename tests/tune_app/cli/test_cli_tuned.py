"""The command line on tuned ablations: what it says before anything runs, and after."""

import pytest
from typer.testing import CliRunner

from tune_app.cli import app

pytestmark = pytest.mark.slow

SMALL = ["--size", "smoke", "--set", "factors.model.norm=[none]", "--set", "data.train_size=40"]


@pytest.fixture
def tune_app(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return call


def test_the_size_of_a_tuned_ablation_is_said(tune_app):
    assert "4 arms x 5 repeats of 8 trials and 1 final training = 180 cells" in tune_app(
        "validate", "tuned-normalization"
    )
    assert "4 x 5 x 8 + 1" in tune_app("studies")


def test_the_plan_gives_cost_and_detectable_difference_before_anything_runs(tune_app):
    output = tune_app("plan", "tuned-normalization", "--no-time")
    assert "180 cells, 0 done, 180 to train" in output
    assert (
        "each arm and repeat: 8 trials of 4 epochs over optimizer.lr (loguniform: 0.002 to 2), the first with" in output
    )
    assert "smallest difference in test_accuracy that 5 paired repeats detect (80 % power" in output
    more = tune_app("plan", "tuned-normalization", "--no-time", "--set", "tune.repeats=6", "--set", "tune.trials=12")
    assert "312 cells, 0 done, 312 to train" in more
    assert "about" in tune_app("plan", "tuned-normalization", *SMALL)


def test_what_is_trained_is_counted_and_an_extension_trains_the_rest(tune_app):
    output = tune_app("run", "tuned-normalization", *SMALL, "--inline")
    assert "[12/12]" in output
    assert "12 cells, 12 done, 0 to train" in tune_app("plan", "tuned-normalization", *SMALL, "--no-time")
    more = [*SMALL, "--set", "tune.repeats=3"]
    assert "18 cells, 12 done, 6 to train" in tune_app("plan", "tuned-normalization", *more, "--no-time")
    assert "untuned" in tune_app("report", "tuned-normalization")
