from tune_app.tuning.landscape import progress as landscape_progress
from tune_app.tuning.landscape.progress import LandscapeProgress


def test_without_a_terminal_lines_are_few_and_the_last_one_comes(capsys, monkeypatch):
    with LandscapeProgress(40) as progress:
        for _ in range(3):
            progress.advance(10, "norm=[none], seed 0")
        assert capsys.readouterr().out == ""
        monkeypatch.setattr(landscape_progress, "LINE_SECONDS", 0.0)
        progress.advance(0, "norm=[none], seed 0")
        assert capsys.readouterr().out.startswith("30/40 points, ")
        monkeypatch.undo()
        progress.advance(10, "norm=[none], seed 0")
    assert capsys.readouterr().out.endswith("a second (norm=[none], seed 0)\n")


def test_on_a_terminal_there_is_a_bar_and_no_lines(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with LandscapeProgress(4) as progress:
        progress.advance(4, "baseline, seed 0")
    out = capsys.readouterr().out
    assert "baseline, seed 0" in out
    assert "4/4" in out
    assert "a second" not in out
