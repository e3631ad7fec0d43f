"""The folder of our own Ray: private, short, and removed, also after a kill."""

import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from search_spaces.errors import StudyError
from tune_app.tuning.session import noise_to
from tune_app.tuning.session_folder import PREFIX, own_token, session_folder

LONGEST_SOCKET = 107
SESSION = "session_2026-12-31_23-59-59_123456_4194304/sockets/plasma_store"
"""What Ray puts behind the folder, with the longest process ID of Linux."""


@pytest.fixture
def parent(monkeypatch):
    made = Path(subprocess.check_output(["mktemp", "-d", "/tmp/pXXXXXX"], text=True).strip())
    monkeypatch.setenv("RAY_TMPDIR", str(made))
    yield made
    subprocess.run(["rm", "-r", str(made)], check=True)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_no_other_user_can_enter_it_and_nothing_is_left(parent, umask):
    before = os.umask(umask)
    try:
        with session_folder() as folder:
            folder.chmod(0o777)  # as Ray does
            assert folder.parent.parent == parent
            assert mode(folder.parent) == 0o700
            (folder / "deep").mkdir()
            (folder / "deep" / "file").touch()
    finally:
        os.umask(before)
    assert list(parent.iterdir()) == []


@pytest.fixture
def long_folder():
    """Return a function that makes a folder in /tmp with a name of this many characters; all are removed."""
    with ExitStack() as stack:
        yield lambda length: stack.enter_context(TemporaryDirectory(prefix=(length - 8) * "x", dir="/tmp"))


@pytest.mark.parametrize("wanted", ["", "/tmp", 23, 60, "/no/such/folder"])
def test_a_socket_in_it_has_a_path_that_unix_allows(wanted, long_folder, monkeypatch):
    folder = long_folder(wanted) if isinstance(wanted, int) else wanted
    assert not isinstance(wanted, int) or len(folder) == len("/tmp/") + wanted
    monkeypatch.setenv("RAY_TMPDIR", folder)
    with session_folder() as made:
        assert len(os.fsencode(made / SESSION)) <= LONGEST_SOCKET


@pytest.fixture
def start():
    """Return a function that starts a process with a session folder and returns both; it is killed at the end."""
    code = "import time; from tune_app.tuning.session_folder import session_folder\n"
    code += "with session_folder() as folder: (folder / 'file').touch(); print(folder, flush=True); time.sleep(600)"
    started = []

    def begin():
        started.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True))
        return started[-1], Path(started[-1].stdout.readline().strip())

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_killed_run_left_is_removed_by_the_next_and_what_a_running_one_has_is_not(parent, start):
    (killed, left), (_, kept) = start(), start()
    killed.kill()
    killed.wait()
    assert (left / "file").exists()
    other = parent / f"{PREFIX}other"
    other.mkdir()
    with session_folder():
        assert not left.exists()
        assert (kept / "file").exists()
        assert other.exists(), "without a lock it is not known to be ours"


def test_ray_gets_a_new_token_that_only_this_user_can_read(parent, monkeypatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    tokens = set()
    for _ in range(2):
        with session_folder() as folder, own_token(folder):
            path = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
            assert (os.environ["RAY_AUTH_MODE"], mode(path)) == ("token", 0o600)
            tokens.add(path.read_text())
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ
        assert not path.exists()
    assert len(tokens) == 2
    assert min(map(len, tokens)) == 64


def test_a_mode_that_the_user_set_is_respected(parent, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with session_folder() as folder, own_token(folder):
        assert os.environ["RAY_AUTH_MODE"] == "disabled"
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_what_ray_prints_is_not_written_through_a_link(tmp_path):
    target = tmp_path / "keys"
    target.write_text("keys")
    (tmp_path / "ray.log").symlink_to(target)
    with pytest.raises(StudyError, match="symbolic link"), noise_to(tmp_path / "ray.log"):
        print("from Ray")
    assert target.read_text() == "keys"
    with noise_to(tmp_path / "own.log"):
        print("from Ray")
    assert (tmp_path / "own.log").read_text() == "from Ray\n"
