"""Files whose names or contents come from elsewhere: what is read, what is written, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from search_spaces.errors import StudyError
from search_spaces.files import is_ours, open_regular, require_regular, url_scheme, write_file


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store" / "report").mkdir(parents=True)
    (tmp_path / "store" / "study.yaml").write_text("name: x")
    return tmp_path / "store"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folders_and_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.csv"
    assert write_file(path, "one") == path
    write_file(path, b"two")
    assert path.read_text() == "two"
    assert names(path.parent) == ["x.csv"]


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path / "page.html", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "page.html", "new")
    assert (tmp_path / "page.html").read_text() == "old"
    assert names(tmp_path) == ["page.html"]


def test_the_old_file_is_whole_until_the_new_one_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed at the end of writing leaves the old file: so nothing is written in place."""
    write_file(tmp_path / "page.html", "old")
    seen = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append((tmp_path / "page.html").read_text()), real(handle)))
    write_file(tmp_path / "page.html", "new")
    assert seen == ["old", "new"], "the second flush is that of the folder"


def test_a_link_is_refused_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "authorized_keys").write_text("mine")
    (tmp_path / "effects.csv").symlink_to(tmp_path / "authorized_keys")
    with pytest.raises(StudyError, match=r"effects.csv: is a symbolic link, so it is not written"):
        write_file(tmp_path / "effects.csv", "planted")
    assert (tmp_path / "authorized_keys").read_text() == "mine"


def test_a_second_name_of_another_file_is_replaced_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    os.link(tmp_path / "mine", tmp_path / "effects.csv")
    write_file(tmp_path / "effects.csv", "new")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("target", ["effects.csv", "sub/effects.csv"])
def test_a_folder_of_a_store_that_is_a_link_is_refused(store: Path, tmp_path: Path, target: str) -> None:
    (store / "report").rmdir()
    (tmp_path / "elsewhere" / "sub").mkdir(parents=True)
    (store / "report").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StudyError, match=r"report: is a symbolic link inside a results store"):
        write_file(store / "report" / target, "x")
    assert names(tmp_path / "elsewhere") == ["sub"]
    assert names(tmp_path / "elsewhere" / "sub") == []


def test_a_store_that_is_reached_through_a_link_of_ones_own_is_fine(store: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").symlink_to(store)
    write_file(tmp_path / "disk" / "report" / "effects.csv", "x")
    assert (store / "report" / "effects.csv").read_text() == "x"


def test_a_folder_or_a_pipe_is_not_written_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name, kind in (("pipe.csv", "a named pipe"), ("folder.csv", "a folder")):
        with pytest.raises(StudyError, match=kind):
            write_file(tmp_path / name, "x")


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = write_file(tmp_path / "x.csv", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_only_regular_files_are_opened_and_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"content"
    with open_regular(tmp_path / "link", follow=True) as file:
        assert file.read() == b"content"
    for path, kind in (
        (tmp_path / "pipe", "named pipe"),
        (tmp_path / "link", "symbolic link"),
        (Path("/dev/zero"), "device"),
    ):
        with pytest.raises(StudyError, match=kind):
            open_regular(path)
    with pytest.raises(StudyError, match="NUL"):
        open_regular("a\0b")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    require_regular(tmp_path / "link")


@pytest.mark.parametrize(
    "url", ["results", "/a/b", "./a:b", "C", "~/results", "file:///a", "s3://b/c", "gs://b", "gcs://b", "memory://x"]
)
def test_paths_and_object_stores_are_allowed(url: str) -> None:
    assert url.startswith(url_scheme(url))


@pytest.mark.parametrize(
    "url",
    ["zip://x.zip", "zip://x::s3://b", "s3://b::zip://c", "github://a:b@c/d", "ftp://h/x", "hdfs://h/x", "http://h/x",
     "simplecache::s3://b", "filecache::memory://b", "reference://x", "ssh://h/x", "a\0b", "ZIP://x"],
)  # fmt: skip
def test_any_other_scheme_is_the_users_mistake(url: str) -> None:
    with pytest.raises(StudyError, match=r"cannot be opened: use a local path|NUL"):
        url_scheme(url)


def test_a_folder_of_another_user_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_ours(tmp_path)
    assert not is_ours(tmp_path / "absent")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert not is_ours(tmp_path)
