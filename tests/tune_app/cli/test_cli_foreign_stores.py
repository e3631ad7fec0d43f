"""A results store that came from elsewhere: reading it writes nothing outside the places that the user chose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.make_store import write_store
from search_spaces.errors import StudyError
from tune_app.cli import app

pytestmark = pytest.mark.slow

OUTPUTS = ("report.html", "effects.csv", "effects.md", "effects.tex")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").write_text("mine")
    return write_store(tmp_path / "results" / "theirs", name="theirs", seeds=2, epochs=2, extras=False)


def report(*options: str) -> str:
    done = CliRunner().invoke(app, ["report", "theirs", *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


@pytest.mark.parametrize("name", OUTPUTS[:2])
def test_no_output_is_written_through_a_link_of_the_store(name: str, store: Path, tmp_path: Path) -> None:
    (store / "report").mkdir()
    (store / "report" / name).symlink_to(tmp_path / "keys")
    with pytest.raises(StudyError, match=f"{name}: is a symbolic link"):
        report()
    assert (tmp_path / "keys").read_text() == "mine"


def test_the_report_folder_of_the_store_must_not_be_a_link(store: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (store / "report").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StudyError, match="is a symbolic link inside a results store"):
        report()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_report_of_another_users_store_goes_to_this_folder(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: store.stat().st_uid + 1)
    assert "belongs to another user or cannot be written, so the report goes to theirs-report" in report()
    assert sorted(path.name for path in (tmp_path / "theirs-report").iterdir()) == sorted(OUTPUTS)
    assert not (store / "report").exists()


def test_taking_the_lock_does_not_empty_a_file_that_a_link_leads_to(store: Path, tmp_path: Path) -> None:
    (store / ".lock").symlink_to(tmp_path / "keys")
    done = CliRunner().invoke(app, ["compact", "theirs"])
    assert isinstance(done.exception, StudyError)
    assert (tmp_path / "keys").read_text() == "mine"


def test_a_study_file_that_is_a_pipe_does_not_block(store: Path) -> None:
    (store / "study.yaml").unlink()
    os.mkfifo(store / "study.yaml")
    with pytest.raises(StudyError, match=r"study.yaml: is a named pipe"):
        report()
