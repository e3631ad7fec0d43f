"""Recorded file operations of a writer, and every state in which a power loss may leave the disk.

The model is what POSIX promises: content is on the disk after fsync of the file, a name after fsync of its folder. What
was not flushed may be there or not. Names of one folder come in the order of the operations (as journals keep them);
folders are independent of each other.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

Names = tuple[tuple[str, int | None], ...]
"""What an operation does to a folder: each name gets an inode, or None where it goes."""


@dataclass(frozen=True)
class Operation:
    """A change of names in ``folder``, new ``content`` of an inode, or the flush of one of these."""

    kind: str
    folder: str = ""
    names: Names = ()
    inode: int = 0
    content: bytes = b""
    mark: str = ""


@dataclass
class Recording:
    """Operations under ``root`` in order, with marks of the test's own between them."""

    root: Path
    operations: list[Operation] = field(default_factory=list)
    known: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    """Names of the files' contents. Not the file system's inodes: ext4 gives that of a removed file to the next one."""

    def mark(self, text: str) -> None:
        """Note that something has returned."""
        self.scan()
        self.operations.append(Operation("mark", mark=text))

    def scan(self) -> None:
        """Record new folders, files and content that were written since the last operation."""
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            content = b"" if path.is_dir() else path.read_bytes()
            before = self.known.get(name)
            inode = next(self.numbers) if before is None else before[0]
            if before is None:
                kind = "folder" if path.is_dir() else "link"
                self.operations.append(Operation(kind, str(Path(name).parent), ((path.name, inode),)))
            if content and (before is None or before[1] != content):
                self.operations.append(Operation("write", inode=inode, content=content))
            self.known[name] = (inode, content)

    def flush(self, handle: int) -> None:
        """Record an fsync of a file or folder."""
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if not path.is_relative_to(self.root):
            return
        if path.is_dir():
            self.operations.append(Operation("flush folder", str(path.relative_to(self.root))))
        else:
            inode, _ = self.known[str(path.relative_to(self.root))]
            self.operations.append(Operation("flush", inode=inode, content=path.read_bytes()))

    def renamed(self, source: Path, target: Path) -> None:
        """Record a rename inside one folder."""
        old, new = str(source.relative_to(self.root)), str(target.relative_to(self.root))
        inode, content = self.known.pop(old)
        self.known[new] = (inode, content)
        self.operations.append(Operation("link", str(Path(new).parent), ((source.name, None), (target.name, inode))))

    def removed(self, path: Path) -> None:
        """Record the removal of a file or folder."""
        name = str(path.relative_to(self.root))
        if self.known.pop(name, None) is not None:
            self.operations.append(Operation("link", str(Path(name).parent), ((path.name, None),)))


@contextmanager
def recorded(root: Path) -> Iterator[Recording]:
    """Record what this process does to the files under ``root``."""
    recording = Recording(root)
    real = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "unlink", "remove", "rmdir")}

    def fsync(handle: int) -> None:
        recording.scan()
        real["fsync"](handle)
        recording.flush(handle)

    def rename(source: Any, target: Any, **options: Any) -> None:
        recording.scan()
        real["replace"](source, target, **options)
        if Path(target).is_relative_to(root):
            recording.renamed(Path(source), Path(target))

    def remove(name: str) -> Any:
        def call(path: Any, *, dir_fd: int | None = None) -> None:
            recording.scan()
            whole = Path(f"/proc/self/fd/{dir_fd}").readlink() / path if dir_fd is not None else Path(path)
            real[name](path, dir_fd=dir_fd)
            if whole.is_relative_to(root):
                recording.removed(whole)

        return call

    new = {"fsync": fsync, "replace": rename, "rename": rename}
    new |= {name: remove(name) for name in ("unlink", "remove", "rmdir")}
    with mock.patch.multiple(os, **new):
        yield recording


@dataclass(frozen=True)
class State:
    """A disk after a power loss: content by path, and the marks that were passed before."""

    files: dict[str, bytes]
    folders: frozenset[str]
    marks: tuple[str, ...]

    def restore(self, root: Path) -> None:
        """Write the state under ``root``."""
        root.mkdir(parents=True)
        for folder in sorted(self.folders):
            (root / folder).mkdir(exist_ok=True)
        for name, content in self.files.items():
            (root / name).write_bytes(content)


class _Disk:
    """What is certain and what is pending after some operations."""

    def __init__(self) -> None:
        self.names: dict[str, dict[str, int]] = {}
        self.pending: dict[str, list[Names]] = {}
        self.durable: dict[int, bytes] = {}
        self.volatile: dict[int, bytes] = {}
        self.folders: set[int] = set()
        self.marks: tuple[str, ...] = ()

    def apply(self, operation: Operation) -> None:
        match operation.kind:
            case "mark":
                self.marks += (operation.mark,)
            case "write":
                self.volatile[operation.inode] = operation.content
            case "flush":
                self.durable[operation.inode] = self.volatile[operation.inode] = operation.content
            case "flush folder":
                for names in self.pending.pop(operation.folder, []):
                    _change(self.names.setdefault(operation.folder, {}), names)
            case _:
                self.pending.setdefault(operation.folder, []).append(operation.names)
                if operation.kind == "folder":
                    self.folders.update(inode for _, inode in operation.names if inode is not None)

    def states(self, dice: random.Random, limit: int) -> Iterator[State]:
        """Yield every state, or ``limit`` of them drawn at random where there are more."""
        folders = sorted(self.pending)
        unsure = sorted(inode for inode, content in self.volatile.items() if self.durable.get(inode) != content)
        ranges = [range(len(self.pending[folder]) + 1) for folder in folders] + [range(3) for _ in unsure]
        count = 1
        for each in ranges:
            count *= len(each)
        choices: Iterator[tuple[int, ...]] = itertools.product(*ranges)
        if count > limit:
            choices = (tuple(dice.choice(each) for each in ranges) for _ in range(limit))
        for choice in choices:
            yield self._state(
                dict(zip(folders, choice, strict=False)), dict(zip(unsure, choice[len(folders) :], strict=True))
            )

    def _state(self, kept: dict[str, int], contents: dict[int, int]) -> State:
        files: dict[str, bytes] = {}
        found: set[str] = set()

        def walk(folder: str) -> None:
            names = dict(self.names.get(folder, {}))
            for change in self.pending.get(folder, [])[: kept.get(folder, 0)]:
                _change(names, change)
            for name, inode in names.items():
                path = name if folder == "." else f"{folder}/{name}"
                if inode in self.folders:
                    found.add(path)
                    walk(path)
                    continue
                full, safe = self.volatile.get(inode, b""), self.durable.get(inode, b"")
                files[path] = (full, safe, full[: len(full) // 2])[contents.get(inode, 0)]

        walk(".")
        return State(files, frozenset(found), self.marks)


def _change(names: dict[str, int], change: Names) -> None:
    for name, inode in change:
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def crash_states(recording: Recording, seed: int = 1, limit: int = 12) -> Iterator[State]:
    """Yield the states after a power loss at each point of a recording, up to ``limit`` at each, no state twice."""
    dice, disk, seen = random.Random(seed), _Disk(), set()
    for operation in [*recording.operations, Operation("mark", mark="end")]:
        disk.apply(operation)
        for state in disk.states(dice, limit):
            identity = hash((tuple(sorted(state.files.items())), state.folders, state.marks))
            if identity not in seen:
                seen.add(identity)
                yield state
