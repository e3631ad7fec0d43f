"""`make verdicts` keeps finished lines, and simulates again only what changed."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from bench import verdicts
from bench.verdict_simulations import Rate, equivalence_claims, normal, power, rates


@pytest.fixture
def one_line(tmp_path, monkeypatch):
    """A page with one line that depends on a file of its own."""
    code = tmp_path / "code.py"
    code.write_text("first")
    line = verdicts.Line(("claim", "n = 8"), partial(verdicts.change, equivalence_claims))
    monkeypatch.setattr(verdicts, "CODE", (code,))
    monkeypatch.setattr(verdicts, "SECTIONS", (verdicts.Section("Claims", ("rate", "setting", "a", "b"), (line,)),))
    monkeypatch.setattr(verdicts, "CACHE", tmp_path / "cache" / "verdicts.json")
    return code


def test_a_finished_line_is_kept_until_its_code_or_the_number_of_studies_changes(one_line, capsys):
    found = verdicts.simulate_missing(20, 1, 1.0)
    assert "claim | n = 8 | 20" in capsys.readouterr().out
    expected = equivalence_claims(studies=20)
    assert list(found.values()) == [[str(expected.before), str(expected.after)]]
    assert f"| claim | n = 8 | {expected.before} | {expected.after} |" in verdicts.tables(20, found)

    assert verdicts.simulate_missing(20, 1, 1.0) == found
    assert capsys.readouterr().out == ""
    assert verdicts.simulate_missing(30, 1, 0.0) == {}  # no time left to simulate it
    one_line.write_text("second")
    assert verdicts.simulate_missing(20, 1, 0.0) == {}


def test_lines_are_simulated_again_when_any_code_that_computes_them_changes():
    names = {file.relative_to(verdicts.ROOT).as_posix() for file in verdicts.CODE}
    own = ("verdict_simulations", "verdict_findings", "tuned_simulations")
    stats = ("claims", "paired", "verdicts", "collapse", "robust", "effects", "power", "simultaneous", "sequential")
    further = {f"analysis/stats/{name}.py" for name in (*stats, "spending", "distributions")} | {
        "search_spaces/tune.py"
    }
    assert {f"bench/{name}.py" for name in own} | further <= names


def test_the_error_of_a_rate_takes_outcomes_of_one_study_as_one():
    assert Rate.of([6, 6, 0, 0], 6) == Rate(0.5, pytest.approx(math.sqrt(1 / 3) / 2))
    shares = np.array([0.0, 0.5, 1.0, 0.5, 1.0])
    assert Rate.of(2 * shares, 2).error == pytest.approx(shares.std(ddof=1) / math.sqrt(5))
    assert Rate.of([True] * 10) == Rate(1.0, 0.1)
    unequal = Rate.of([3, 0, 1], [3, 0, 3])  # the ratio of sums: 4 of 6, residuals 1, 0 and -1 over a mean of 2
    assert unequal == Rate(pytest.approx(4 / 6), pytest.approx(math.sqrt(0.25) / math.sqrt(3)))


def test_the_errors_of_coverage_and_power_are_those_between_repeated_simulations():
    found = [rates(normal, n=5, arms=6, studies=60, seed=seed).coverage for seed in range(25)]
    spread = np.std([each.rate for each in found], ddof=1)
    assert np.mean([each.error for each in found]) == pytest.approx(
        spread, rel=0.3
    )  # the binomial one is 1.5 times less
    change = power(1.5, n=5, arms=6, studies=60)
    assert change.before.error > 1.2 * math.sqrt(change.before.rate * (1 - change.before.rate) / 360)


def test_every_simulation_of_the_page_runs():
    for section in verdicts.SECTIONS:
        for line in section.lines[::8]:
            assert len(line.labels) + len(line.simulate(studies=4)) == len(section.heads)


def test_every_line_of_the_page_has_a_key_of_its_own_and_as_many_columns_as_the_head():
    keys = [line.key(section.title, 10) for section in verdicts.SECTIONS for line in section.lines]
    assert len(set(keys)) == len(keys)
    for section in verdicts.SECTIONS:
        labels = {len(line.labels) for line in section.lines}
        assert len(labels) == 1
        assert max(labels) < len(section.heads)
