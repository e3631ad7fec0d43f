import pytest
from fsspec.implementations.memory import MemoryFileSystem

from search_spaces.errors import StudyError
from tune_app.storage import Folder, StorageError


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return Folder(tmp_path / "a" if request.param == "local" else f"memory://{tmp_path.name}/a")


def test_what_is_written_is_read_back_and_listed(folder):
    (folder / "sub").write("x.bin", b"one")
    (folder / "sub").write("x.bin", b"two")
    (folder / "sub").write("y.txt", b"")
    assert (folder / "sub").read("x.bin") == b"two"
    assert (folder / "sub").names() == ["x.bin", "y.txt"]
    assert (folder / "sub").names(".txt") == ["y.txt"]
    assert [entry["type"] for entry in folder.entries()] == ["directory"]
    assert folder.exists("sub/x.bin")


def test_a_folder_that_is_not_there_is_empty_and_can_be_removed(folder):
    assert (folder / "nothing").names() == []
    assert (folder / "nothing").entries() == []
    assert not folder.exists("nothing")
    folder.remove("nothing")
    with pytest.raises(FileNotFoundError):
        folder.read("nothing")


def test_removing_takes_a_whole_folder(folder):
    (folder / "sub").write("x.bin", b"one")
    folder.remove("sub")
    assert not folder.exists("sub/x.bin")


def test_several_files_are_removed_together(folder):
    for name in "xyz":
        folder.write(name, b"")
    folder.remove_files(["x", "z"])
    folder.remove_files([])
    assert folder.names() == ["y"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    folder.write("x", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.write("x", b"new")
    assert folder.read("x") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_hidden_files_are_not_listed(tmp_path):
    (tmp_path / ".x.tmp").write_text("unfinished")
    assert Folder(tmp_path).names() == []


def test_an_unknown_scheme_is_the_users_mistake():
    with pytest.raises(StudyError, match="nowhere://x: cannot be opened"):
        Folder("nowhere://x")


def test_a_remote_folder_that_cannot_be_listed_is_a_storage_error(tmp_path, monkeypatch):
    folder = Folder(f"memory://{tmp_path.name}")

    def refuse(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    for listed in (folder.names, folder.entries):
        with pytest.raises(StorageError, match="cannot be listed: PermissionError: Access Denied; check the address"):
            listed()
