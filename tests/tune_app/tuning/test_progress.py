import io

import pytest
from rich.console import Console

from search_spaces.plan import make_plan
from tune_app.tuning.jobs import cell_job
from tune_app.tuning.progress import Progress, duration
from tune_app.tuning.running_effects import RunningEffects
from tune_app.tuning.store.rows import TrialRecord


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.44, "0.4 s"),
        (1.94, "1.9 s"),
        (1.96, "2 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (245, "4 min 05 s"),
        (7830, "2 h 10 min"),
    ],
)
def test_a_length_of_time_is_said_as_a_person_says_it(seconds, words):
    assert duration(seconds) == words


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self):
        return True


def show(progress):
    """Return what is drawn now, as text."""
    out = io.StringIO()
    Console(file=out, width=120).print(progress._picture())
    return out.getvalue()


@pytest.fixture
def effects(spec):
    """The study of `spec`, of which both arms have seed 0."""
    plan = make_plan(spec)
    found = {cell.digest: {"test_accuracy": 0.5 + 0.1 * (cell.arm.name == "norm=none")} for cell in plan.cells[:2]}
    assert {cell.config.seed for cell in plan.cells[:2]} == {0}
    return RunningEffects(plan, spec.metric_record(spec.metric), found)


def test_a_terminal_shows_the_effect_of_each_arm_so_far_and_no_verdict(effects):
    progress = Progress(4, 0, "val_accuracy", "max", Terminal())
    assert "difference" not in show(progress)
    progress.effects = effects
    shown = show(progress)
    (line,) = [line for line in shown.splitlines() if "1 of 2" in line]
    assert "points" in line
    assert "10.00" in line
    assert "verdicts need the planned seeds" in shown
    assert not any(word in line for word in ("better", "worse", "p "))


def test_without_a_terminal_each_end_is_a_line_and_effects_are_not_drawn(spec, effects):
    out = io.StringIO()
    progress = Progress(4, 0, "val_accuracy", "max", out)
    progress.effects = effects
    progress.start()
    for number, cell in enumerate(make_plan(spec).cells[:2], start=1):
        record = TrialRecord(cell_job(cell, "f" * 16, 0.0), cpus=1.0)
        progress.update(record, "started")
        progress.on_step_end(0, [])
        progress.update(record, "completed")
        assert out.getvalue().count("\n") == number
    progress.stop()
    assert "left" not in out.getvalue()  # two trials of four are too few to say
    assert "points" not in out.getvalue()


def test_a_terminal_is_drawn_four_times_a_second_at_most(monkeypatch):
    progress, now, drawn = Progress(4, 0, "val_accuracy", "max", Terminal()), [100.0], []
    progress.start()
    monkeypatch.setattr("tune_app.tuning.progress.time.monotonic", lambda: now[0])
    monkeypatch.setattr(progress._live, "update", lambda picture: drawn.append(now[0]))
    for _ in range(1000):
        now[0] += 0.001
        progress.on_step_end(0, [])
    progress.stop()
    assert 4 <= len(drawn) <= 6
