"""What verbs print: text as it is, whatever a study, a store or an error says."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from bench.make_store import write_store
from search_spaces import study_files
from tune_app import cli
from tune_app.cli import app
from tune_app.cli.common import console, printable

pytestmark = pytest.mark.slow

MARKUP = "[/b] [red]x[/red] :smile: \x1b[31mred\x1b[0m \x9b1m \u202egnp"
PRINTED = r"[/b] [red]x[/red] :smile: \x1b[31mred\x1b[0m \x9b1m \u202egnp"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.exception
    return done.output


def test_markup_in_a_question_and_in_levels_is_printed_as_it_is() -> None:
    study = {
        "name": "x",
        "question": MARKUP,
        "factors": {"[/b]": {"[/i]": {"model.norm": "none"}, "3²": {"epochs": 3}}},
    }
    Path("s.yaml").write_text(yaml.safe_dump(study))
    output = call("plan", "s.yaml", "--no-time")
    assert PRINTED in output
    assert "[/b]=[/i]" in output
    assert "[/b]=3²" in output
    assert "\x1b" not in output


def test_markup_in_a_store_is_printed_as_it_is() -> None:
    write_store(Path("results/x"), name="x", question=MARKUP, seeds=2, epochs=2, extras=False,
                factors={"[/b]": {"[/i]": {"model.norm": "none"}}})  # fmt: skip
    assert "[/b]=[/i]" in call("report", "x")


def test_a_long_range_is_shown_by_its_ends() -> None:
    space = {"batch_size": {"int": [1, 60_000]}, "optimizer.lr": {"loguniform": [0.001, 1]}, "epochs": [1, 2]}
    Path("s.yaml").write_text(yaml.safe_dump({"name": "s", "mode": "search", "space": space}))
    output = call("plan", "s.yaml", "--no-time")
    assert "int: 1 to 60000 (60,000 values)" in output
    assert "loguniform: 0.001 to 1" in output
    assert "choice: 1, 2" in output


def test_text_keeps_its_lines_and_loses_what_a_terminal_obeys() -> None:
    assert printable("a\tb\nc\x07\x1b]0;x\x07\r\x7f\udcff") == "a\tb\nc\\x07\\x1b]0;x\\x07\\r\\x7f\\udcff"


@pytest.mark.parametrize(
    "code", ["ENOSPC", "EDQUOT", "EIO", "ESTALE", "EROFS", "EACCES", "ENAMETOOLONG", "ENOENT", "EPERM", "EMFILE"]
)
def test_an_error_of_the_operating_system_is_one_message_and_exit_code_2(
    code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise OSError(getattr(errno, code), "as the system says", "/some/page.html")

    monkeypatch.setattr(study_files, "ready_studies", refuse)
    monkeypatch.setattr(sys, "argv", ["tune-app", "studies"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: /some/page.html: as the system says; ")
    assert len(said.strip().splitlines()) == 1


def test_too_little_memory_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise MemoryError

    monkeypatch.setattr(study_files, "ready_studies", refuse)
    monkeypatch.setattr(sys, "argv", ["tune-app", "studies"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: not enough memory")


def test_a_full_disk_leaves_no_empty_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_store(Path("results/x"), name="x", seeds=2, epochs=2, extras=False)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    monkeypatch.setattr(sys, "argv", ["tune-app", "report", "x"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "the disk is full: make room" in capsys.readouterr().err
    assert list(Path("results/x/report").iterdir()) == []


@pytest.mark.parametrize("path", ["~nosuchuser/data", "a\0b", "x" * 5000, "x/" * 3000])
def test_a_path_that_cannot_be_one_is_the_users_mistake(path: str) -> None:
    study = {"name": "x", "baseline": {"data": {"source": "folder", "path": path}}, "factors": {"model.norm": ["none"]}}
    Path("s.yaml").write_text(yaml.safe_dump(study))
    done = CliRunner().invoke(app, ["plan", "s.yaml", "--no-time"])
    assert "`data.path` is" in str(done.exception)
    assert len(str(done.exception)) < 500


def test_sizes_of_a_model_are_bounded() -> None:
    for option in ("--channels", "--classes", "--resolution"):
        done = CliRunner().invoke(app, ["params", "cnn", option, "1000000000000"])
        assert done.exit_code == 2


def test_the_console_colours_nothing_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("[bold]1 [/x] 'text' http://x")
    assert capsys.readouterr().out == "[bold]1 [/x] 'text' http://x\n"
