"""The user's code that a study refers to: its files, its fingerprint, the parameters of its functions.

The fingerprint enters the digest of every cell that uses the code. It is taken over the text of the files without
comments, blank lines and trailing space, so a comment retrains nothing, and over the versions of the installed
packages that a reference names. The text is used and not the syntax tree, whose form differs between Python versions.
"""

from __future__ import annotations

import hashlib
import io
import json
import tokenize
from collections.abc import Collection, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import Field

from search_spaces.config.base import Part
from search_spaces.errors import StudyError, shown

ADAPTERS: Mapping[str, tuple[str, str]] = {
    "timm": ("timm", "timm"),
    "torchvision": ("torchvision", "torchvision"),
    "hf": ("datasets", "hf"),
}
"""Prefix of a reference -> (the package that it needs, the extra that installs it)."""

MAX_FILES = 2_000
MAX_BYTES = 64 << 20


class Code(Part):
    """Where the user's code is. Everything but ``root`` and ``include`` is filled in when the study is read."""

    root: str = Field(".", description="folder that the modules are imported from, relative to the study file")
    include: tuple[str, ...] = Field(
        (), strict=False, description="files that count as the code: my_pkg/**/*.py; the named packages if empty"
    )
    fingerprint: str | None = Field(None, description="of the files and package versions; filled in")
    packages: dict[str, str] = Field(default_factory=dict, description="versions of installed packages; filled in")
    schemas: dict[str, Any] = Field(default_factory=dict, description="parameters of each reference; filled in")


def module_of(reference: str) -> str:
    """Return the module of a reference: "my_pkg.nets" for "my_pkg.nets:TinyViT"."""
    return reference.split(":", 1)[0]


def code_files(root: Path, include: Iterable[str], references: Iterable[str]) -> list[Path]:
    """Return the files that count as the code, sorted; StudyError where a pattern matches none.

    Without patterns they are the Python files of each top-level package or module under ``root`` that is referred to.
    """
    patterns = list(include) or [p for r in references for p in _default_patterns(root, r)]
    found: set[Path] = set()
    for pattern in dict.fromkeys(patterns):
        if pattern.startswith(("/", "~")) or ".." in Path(pattern).parts:
            raise StudyError(f"`code.include` has {shown(pattern)}, but files must be inside `code.root`")
        try:
            files = [path for path in root.glob(pattern) if path.is_file() and "__pycache__" not in path.parts]
        except (ValueError, NotImplementedError) as error:
            remedy = f"which is no pattern: {error}; write one such as my_pkg/**/*.py"
            raise StudyError(f"`code.include` has {shown(pattern)}, {remedy}") from None
        if not files and include:
            raise StudyError(f"`code.include` has {shown(pattern)}, which matches no file in {root}")
        found.update(files)
    if len(found) > MAX_FILES or sum(path.stat().st_size for path in found) > MAX_BYTES:
        raise StudyError(
            f"`code` takes in {len(found):,} files of {root}, more than {MAX_FILES:,} files or {MAX_BYTES >> 20} MiB; "
            "name the files that matter under `code.include`"
        )
    return sorted(found)


def _default_patterns(root: Path, reference: str) -> list[str]:
    module = module_of(reference)
    if module in ADAPTERS and not (root / f"{module}.py").exists() and not (root / module).is_dir():
        return []
    top = module.split(".", 1)[0]
    if (root / f"{top}.py").is_file() and not (root / top / "__init__.py").is_file():
        return [f"{top}.py"]  # as Python does: a module comes before a folder that is no regular package
    return [f"{top}/**/*.py"] if (root / top).is_dir() else []


def require_files(root: Path, files: Collection[Path], references: Iterable[str]) -> None:
    """Raise StudyError for a reference whose module is neither one of the code's files nor of an installed package.

    A change of such a module would not be noticed. An editable installation counts as files.
    """
    for reference in references:
        place = root.joinpath(*module_of(reference).split("."))
        own = {place.with_name(f"{place.name}.py"), place / "__init__.py"}
        if own.isdisjoint(files) and module_of(reference) not in ADAPTERS and not _is_installed(root, reference):
            raise StudyError(
                f"`{reference}`: its module is not part of the study's code, so that a change would not be noticed: "
                f"{root} has no such file, or `code.include` leaves it out; set `code.root` to the folder that has it"
            )


def _is_installed(root: Path, reference: str) -> bool:
    found = package_versions(root, [reference])
    return bool(found) and not any(map(_is_editable, found))


def _is_editable(package: str) -> bool:
    text = metadata.distribution(package).read_text("direct_url.json")
    return bool(text and json.loads(text).get("dir_info", {}).get("editable"))


def package_versions(root: Path, references: Iterable[str]) -> dict[str, str]:
    """Return the versions of the installed packages that references name: those that are not files under ``root``."""
    found = {}
    by_module = None
    for reference in references:
        top = module_of(reference).split(".", 1)[0]
        if _default_patterns(root, reference):
            continue
        if by_module is None:
            by_module = metadata.packages_distributions()
        for name in by_module.get(ADAPTERS.get(top, (top, ""))[0], ()):
            found[name] = metadata.version(name)
    return dict(sorted(found.items()))


def fingerprint(
    root: Path, files: Iterable[Path], packages: Mapping[str, str], sources: Mapping[str, str] | None = None
) -> str:
    """Return 16 hexadecimal digits of the files' names and significant text, and of the package versions.

    ``sources`` are the texts of functions that live in no file, by reference.
    """
    digest = hashlib.sha256()
    for name, text in sorted((sources or {}).items()):
        digest.update(f"{name}\0{_significant(text)}\0".encode())
    for path in files:
        digest.update(f"{path.relative_to(root).as_posix()}\0{significant_text(path)}\0".encode())
    digest.update(repr(sorted(packages.items())).encode())
    return digest.hexdigest()[:16]


def significant_text(path: Path) -> str:
    """Return a file's text without comments, blank lines and trailing space; a file that is not Python as it is."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return _significant(text) if path.suffix == ".py" else "\n".join(_lines(text))


def _significant(source: str) -> str:
    return "\n".join(_lines(without_comments(source)))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def without_comments(source: str) -> str:
    """Return Python source without its comments; source that does not parse is returned whole."""
    lines = source.splitlines(keepends=True)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return source
    for token in reversed(tokens):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            end = token.end[1]
            lines[row - 1] = lines[row - 1][:column] + lines[row - 1][end:]
    return "".join(lines)
