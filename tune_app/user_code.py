"""The user's own code: import it by reference, ship it as an archive, look at it in a process of its own.

User code may crash, exit, hang or take a GPU. So the driver never imports it to look at it: a child process does,
without GPUs and with a time limit. Workers import it to train.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.code import ADAPTERS, Code, code_files, fingerprint, module_of
from search_spaces.errors import StudyError
from search_spaces.study import StudySpec
from tune_app import signatures
from tune_app.cache_folder import cache_folder
from tune_app.storage import Folder

CHILD_SECONDS = 120.0
"""How long a look at the user's code may take: importing large packages from a cold disk takes tens of seconds."""
MOST_BYTES = 1 << 30
"""Size to which an archive of code may unpack: what travels as one is at most half as large."""


@dataclass(frozen=True)
class CodeSource:
    """Where a worker imports the user's code from: a folder that it sees, or an archive that travels to it.

    ``objects`` maps references to function objects that live in no file, such as those of a notebook.
    """

    root: str = ""
    archive: bytes | None = None
    fingerprint: str = ""
    objects: tuple[tuple[str, Any], ...] = ()
    modules: tuple[str, ...] = ()
    """Top-level modules and packages of the code, so that a process can import another version of them."""
    code: Code | None = None
    """The study's ``code``, where it is imported from the folder itself."""


def code_source(spec: StudySpec, ship: bool = False) -> CodeSource:
    """Return where the code of a study is imported from; ``ship``: as an archive, for machines without the folder."""
    if spec.code is None:
        return CodeSource()
    archive, root = code_archive(spec) if ship else None, Path(spec.code.root)
    files = [path.relative_to(root) for path in code_files(root, spec.code.include, _references(spec))]
    modules = sorted({file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py"})
    own = None if ship else spec.code
    return CodeSource(spec.code.root, archive, spec.code.fingerprint or "", (), tuple(modules), own)


def require_unchanged(source: CodeSource) -> None:
    """Raise StudyError where the files of the code are no longer those that the run began with.

    A process that starts later, as for a further attempt, would train with the new files and store the old fingerprint.
    """
    if source.code is None or source.objects or not source.code.schemas:  # nothing to compare with
        return
    root = Path(source.root)
    files = code_files(root, source.code.include, source.code.schemas)
    now = fingerprint(root, files, source.code.packages)
    if now != source.fingerprint:
        raise StudyError(
            f"the code in {root} changed since this run began (fingerprint {now}, was {source.fingerprint}); "
            "run the study again to train this cell with the new code"
        )


def code_archive(spec: StudySpec) -> bytes:
    """Return the files of a study's code as a ZIP archive, the same bytes for the same files."""
    assert spec.code is not None
    root = Path(spec.code.root)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in code_files(root, spec.code.include, _references(spec)):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _references(spec: StudySpec) -> list[str]:
    assert spec.code is not None
    return list(dict.fromkeys([*spec.code.schemas, *spec.baseline.references()]))


def code_folder(source: CodeSource) -> str:
    """Return the folder that the code is imported from; an archive is unpacked first."""
    if source.archive is None:
        return source.root
    folder = Path(tempfile.gettempdir()) / f"tune-app-code-{os.getuid()}-{source.fingerprint}"
    unpack(source.archive, folder)
    return str(folder)


def make_importable(source: CodeSource) -> None:
    """Let this process import the user's code, before other code of the same name."""
    global _current, _modules
    folder = code_folder(source)
    if folder and sys.path[:1] != [folder]:
        sys.path[:] = [folder, *(place for place in sys.path if place != folder)]
    if folder:
        importlib.invalidate_caches()
    _current, _modules = (folder, source.fingerprint), source.modules
    _OBJECTS.update(dict(source.objects))


_OBJECTS: dict[str, Any] = {}
_current = ("", "")
"""Folder and fingerprint of the code that this process imports from now on."""
_modules: tuple[str, ...] = ()
"""Its top-level modules and packages."""
_imported: dict[str, tuple[str, str]] = {}
"""Top-level package -> folder and fingerprint of the version that this process has imported."""


def _forget_other_version(package: str) -> None:
    """Let a package be imported again where this process has imported another version of it, or another of that name.

    A process may train several studies, or one before and after an edit: `tune_app.run(..., executor="inline")`.
    """
    folder, _ = _current
    if not folder or not any((Path(folder) / name).exists() for name in (package, f"{package}.py")):
        return
    if package in sys.modules and _imported.get(package) != _current:
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]
    _imported[package] = _current


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Write no bytecode: Python would take it for edited source of the same size and second, in any process."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def unpack(archive: bytes, folder: Path) -> None:
    """Unpack into a private folder, once; a second process that does the same at the same time does no harm.

    Raises StudyError where the folder belongs to another user, and where the archive is damaged or too large.
    """
    if (folder / ".complete").exists() and folder.stat().st_uid == os.getuid():
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise StudyError(f"{folder} belongs to another user; remove it, or set TMPDIR to a folder of your own")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
            if size > MOST_BYTES:
                raise StudyError(f"the archive of the code unpacks to {size:,} bytes, but {MOST_BYTES:,} are the limit")
            packed.extractall(folder)
    except zipfile.BadZipFile as error:
        raise StudyError(f"the archive of the code is damaged: {error}") from None
    (folder / ".complete").touch()


def resolve(reference: str) -> Any:
    """Return the object that a reference names; StudyError where its module or the name in it cannot be had."""
    if reference in _OBJECTS:
        return _OBJECTS[reference]
    module_name, _, attribute = reference.partition(":")
    for name in {module_name.split(".")[0], *_modules}:  # the code may import its other modules, too
        _forget_other_version(name)
    try:
        with _no_bytecode():
            found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise StudyError(
            f"`{reference}`: there is no module {error.name!r}; `code.root` must be the folder that it is imported from"
        ) from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise StudyError(f"`{reference}`: {module_name} has no {part!r}")
        found = getattr(found, part)
    if not callable(found):
        raise StudyError(f"`{reference}` is no function or class, so it cannot be called")
    return found


def is_adapter(reference: str) -> bool:
    """Return whether a reference names a library through one of our adapters: ``timm:resnet18``."""
    return module_of(reference) in ADAPTERS


def library(reference: str) -> Any:
    """Return the module of the library that an adapter needs; StudyError with what to install where it is missing."""
    package, extra = ADAPTERS[module_of(reference)]
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise StudyError(f"`{reference}` needs the package {package}: pip install 'tune-app[{extra}]'") from None


def user_traceback(error: BaseException, roots: Sequence[str]) -> str:
    """Return an error as text: first the line of the user's code that raised it, then the whole traceback.

    The line is "my_pkg/train.py, line 12, in train: ValueError: message"; without a frame in ``roots`` the text is the
    traceback alone.
    """
    whole = "".join(traceback.format_exception(error))
    places = [root for root in roots if root]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        root = next((root for root in places if frame.filename.startswith(f"{root.rstrip('/')}/")), None)
        if root is not None:
            file = os.path.relpath(frame.filename, root)
            notes = sum(note.count("\n") + 1 for note in getattr(error, "__notes__", ()))
            message = "".join(traceback.format_exception_only(error)[: -notes or None]).strip()
            return f"{file}, line {frame.lineno}, in {frame.name}: {message}\n\n{whole}"
    return whole


def describe(root: Path, references: Sequence[str], fingerprint: str) -> dict[str, Any]:
    """Return the JSON Schema of the parameters of each reference, read in a child process, cached by fingerprint.

    Raises StudyError, with the user's own file and line, where the code cannot be imported, crashes or takes longer
    than CHILD_SECONDS.
    """
    own = [str(Path(file).stat().st_mtime_ns) for file in (__file__, signatures.__file__)]
    name = "\n".join([*sorted(references), fingerprint, sys.version, *own])
    cached = cache_folder() / "parameters" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
    try:
        return dict(json.loads(cached.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        found = dict(in_child("describe", root, {"references": list(references)}))
    with suppress(OSError):  # a cache that cannot be written costs a second next time
        Folder(cached.parent).write(cached.name, json.dumps(found).encode())
    return found


def in_child(what: str, root: Path, payload: dict[str, Any], seconds: float | None = None) -> Any:
    """Return what `tune_app.child` answers for the user's code under ``root``; StudyError where it does not."""
    seconds = CHILD_SECONDS if seconds is None else seconds
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    home = str(Path(__file__).resolve().parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (home, environment.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory(prefix="tune-app-") as folder:
        answer = Path(folder) / "answer.json"
        request = {"what": what, "root": str(root), **payload}
        (Path(folder) / "request.json").write_text(json.dumps(request), encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tune_app.child", folder],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            remedy = "keep training and downloads out of the module's top level"
            if what == "load":
                remedy = f"see why {payload['reference']} takes longer, such as a server that does not answer"
            raise StudyError(
                f"the code in {root} did not finish importing or answering within {seconds:.0f} s; {remedy}"
            ) from None
        if not answer.exists():
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise StudyError(
                f"the code in {root} ended its process (exit code {done.returncode}) when it was imported: {said}"
            )
        found = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        raise StudyError(found["error"])
    return found["result"]
