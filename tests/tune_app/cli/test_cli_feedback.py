"""What a user sees of the time of a run, and of a search's result."""

import re

import pytest
from typer.testing import CliRunner

from tune_app.cli import app
from tune_app.tuning.calibration import RAY, Speeds

STUDY = """
name: hunt
mode: search
baseline:
  data: {source: digits, train_size: 40, validation_size: 40, test_size: 40}
  model: {depth: 8, width: 4}
  batch_size: 20
  epochs: 1
  precision: float32
space: {optimizer.lr: {loguniform: [1e-3, 1]}}
search: {searcher: random, trials: 7, asha: null}
"""


@pytest.fixture
def tune_app():
    def call(*arguments):
        done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return call


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNE_APP_DATA", str(tmp_path / "cache"))
    (tmp_path / "hunt.yaml").write_text(STUDY)
    return "hunt.yaml"


def test_a_second_run_is_estimated_from_the_first_and_the_report_prints_the_best_five(tune_app, study):
    first = tune_app("run", study, "--inline")
    assert "estimated" not in first  # nothing like it was run here before
    second = tune_app("run", study, "--inline", "--set", "search.trials=9")
    assert re.search(r"about .* for 2 trials, start-up included, as measured here before", second)
    assert re.search(r"estimated [0-9.]+ s, took [0-9.]+ s", second)
    report = tune_app("report", study)
    assert "best of 9 trials, by validation accuracy" in report
    rows = re.findall(r"│ +([1-9]) │ +(\S+) │ +([0-9.]+) ", report)
    assert [place for place, _, _ in rows] == ["1", "2", "3", "4", "5"]
    assert "the report is of the study as it was last run; search differ from it" in " ".join(report.split())
    plan = tune_app("plan", study, "--set", "search.trials=12")
    assert "12 trials by random out of infinitely many configs, 9 done; no early stopping" in plan
    assert "each trial is trained with seed 0" in plan
    assert "on this machine" in plan
    assert "on this machine" not in tune_app("plan", study, "--set", "search.trials=9")
    shown = [float(value) for _, _, value in rows]
    assert shown == sorted(shown, reverse=True)


def test_a_plan_includes_the_start_up_that_this_machine_measured(tune_app, study):
    speeds = Speeds.read()
    speeds.add_run(RAY, startup=40.0, per_trial=0.0)
    speeds.write()
    (line,) = re.findall(r"about (.*) on this machine, of which (.*) start-up, ", tune_app("plan", study))
    assert line[1] == "40 s"
    assert "s" in line[0]
    assert int(re.match(r"\d+", line[0])[0]) >= 40 or "min" in line[0]
