"""Read and write files whose names or contents come from elsewhere: regular files only, written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from search_spaces.errors import StudyError, shown

SCHEMES = ("file", "s3", "s3a", "gs", "gcs", "memory")
"""URL schemes of a results store; a path without a scheme is local."""
UNFINISHED = ".tmp"
_FOLDER = "a folder"
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: _FOLDER,
    stat.S_IFLNK: "a symbolic link",
}


def url_scheme(url: str) -> str:
    """Return the scheme of a path or URL, "" for a path; StudyError for a scheme that is not allowed and for NUL."""
    _require_no_nul(url)
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)(?:://|::)", url)
    scheme = found[1].lower() if found else ""
    if (found and scheme not in SCHEMES) or (scheme and "::" in url):
        raise StudyError(f"{url}: cannot be opened: use a local path, or a URL that begins with {', '.join(_EXAMPLES)}")
    return scheme


_EXAMPLES = ("file://", "s3://", "gs://", "gcs://")


def require_regular(path: Path, place: str | None = None) -> None:
    """Raise StudyError where ``path``, links followed, leads to anything but a regular file: reading may never end."""
    problem = kind_problem(path, follow=True)
    if problem is not None:
        raise StudyError(f"{place or path}: is {problem}, but must be a regular file")


def kind_problem(path: Path, follow: bool = False) -> str | None:
    """Return what is at ``path`` in words where it is not a regular file ("a named pipe"); None where it is, or absent.

    A symbolic link counts as what it is unless ``follow``.
    """
    _require_no_nul(path)
    try:
        mode = (path.stat if follow else path.lstat)().st_mode
    except FileNotFoundError:
        return None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a special file")


def open_regular(path: str | Path, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading; StudyError for a named pipe, a device or, unless ``follow``, a symbolic link.

    The check is made on the opened file, so nothing can be put in its place in between. Raises OSError as `open` does.
    """
    path = Path(path)
    _require_no_nul(path)
    if not follow and path.is_symlink():
        raise StudyError(f"{path}: is a symbolic link, but must be a regular file: replace it by the file itself")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, "Is a directory", str(path))
        raise StudyError(f"{path}: is {_KINDS.get(stat.S_IFMT(mode), 'a special file')}, but must be a regular file")
    return os.fdopen(handle, "rb")


def write_file(path: str | Path, content: str | bytes) -> Path:
    """Put a file in place whole, through a temporary file in its folder, and return its path; folders are made.

    What is at ``path`` already is replaced where it is a regular file, and refused with a StudyError where it is a
    symbolic link, a folder or a special file. Inside a results store (a folder with a study.yaml) every folder on the
    way must be a real one, too: a store from elsewhere may hold links to anywhere.

    When it returns, the file is on the disk and stays there if the power fails: content, name and new folders are
    flushed. Before, there is the old file or none.
    """
    path = Path(path)
    require_writable_place(path)
    make_folder(path.parent)
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode(errors="replace") if isinstance(content, str) else content)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(unfinished).unlink()
        raise
    flush_folder(path.parent)
    return path


def create_file(path: str | Path, content: bytes) -> Path:
    """Write a file where there is none and return its path; FileExistsError where there is one. Folders are made."""
    path = Path(path)
    require_writable_place(path)
    make_folder(path.parent)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    flush_folder(path.parent)
    return path


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they stay if the power fails."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        flush_folder(each.parent)


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where its file system can do that."""
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def require_writable_place(path: Path) -> None:
    """Raise StudyError where a file at ``path`` would be written through a link, or over what is no regular file."""
    problem = kind_problem(path)
    if problem is not None:
        raise StudyError(f"{path}: is {problem}, so it is not written: remove it, or choose another path")
    folders = path.absolute().parents
    root = next((folder for folder in folders if (folder / "study.yaml").exists()), None)
    for folder in folders[: folders.index(root)] if root is not None else ():
        problem = kind_problem(folder)
        if problem is not None and problem != _FOLDER:
            raise StudyError(
                f"{folder}: is {problem} inside a results store, so nothing is written there: remove it, or choose "
                "another path"
            )


def require_private(token_file: Path) -> None:
    """Raise StudyError unless the file of `--token-file` is there and no other user may read or change it."""
    if "\0" in str(token_file) or not token_file.is_file():
        raise StudyError(f"`--token-file` is {shown(str(token_file))}, but there is no such file")
    mode = stat.S_IMODE(token_file.stat().st_mode)
    if mode & 0o077:
        raise StudyError(
            f"`--token-file` is {token_file}, which other users may read or change (mode {mode:04o}): make another "
            f"token if they have, and run `chmod 600 {token_file}`"
        )


def is_ours(folder: str | Path) -> bool:
    """Return whether this user owns a local folder and may write in it."""
    try:
        owner = Path(folder).stat().st_uid
    except OSError:
        return False
    return owner == os.geteuid() and os.access(folder, os.W_OK)


def _require_no_nul(path: str | Path) -> None:
    if "\0" in str(path):
        raise StudyError(f"{shown(str(path))}: a path or URL cannot hold a NUL character")


def _umask() -> int:
    """Return this process's umask. Without /proc it can only be read by setting it, which other threads may notice."""
    with suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    before = os.umask(0o077)
    os.umask(before)
    return before
