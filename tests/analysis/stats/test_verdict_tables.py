"""`make verdicts` keeps finished lines, and simulates again only what changed."""

from __future__ import annotations

from functools import partial

import pytest

from bench import verdicts
from bench.verdict_simulations import equivalence_claims


@pytest.fixture
def one_line(tmp_path, monkeypatch):
    """A page with one line that depends on a file of its own."""
    code = tmp_path / "code.py"
    code.write_text("first")
    line = verdicts.Line(("claim", "n = 8"), partial(verdicts.change, equivalence_claims), (str(code),))
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


def test_every_line_of_the_page_has_a_key_of_its_own_and_as_many_columns_as_the_head():
    keys = [line.key(section.title, 10) for section in verdicts.SECTIONS for line in section.lines]
    assert len(set(keys)) == len(keys)
    for section in verdicts.SECTIONS:
        labels = {len(line.labels) for line in section.lines}
        assert len(labels) == 1
        assert max(labels) < len(section.heads)
