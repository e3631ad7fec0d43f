"""Study files: found by name or path, read, overridden, checked."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from search_spaces._part import Part
from search_spaces._yaml import MAX_BYTES, parse_value, parse_yaml
from search_spaces.errors import StudyError, explain, nearest
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from search_spaces.trial import TrialConfig, set_path


def ready_studies() -> dict[str, Path]:
    """Return the studies shipped with the package, name -> file."""
    folder = Path(str(files("search_spaces").joinpath("studies")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_study(study: str | Path, size: str | None = None, overrides: Sequence[str] = ()) -> StudySpec:
    """Return the checked study in a file, or the ready one of that name.

    ``size`` chooses one of the study's own sets of overrides; ``overrides`` are ``path=value`` and come last. Raises
    StudyError that names the place, the value and what is allowed.
    """
    path = _find(study)
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= MAX_BYTES else "x" * (MAX_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read: {error}") from None
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        raise StudyError(f"{path}: must be a mapping with `name`, `baseline` and `factors`, but is {tree!r:.60}")
    try:
        return study_from(_overridden(tree, size, overrides))
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None


def study_from(tree: Mapping[str, Any]) -> StudySpec:
    """Return the study that plain data describes, planned once so that every mistake shows now."""
    try:
        spec = StudySpec.model_validate(dict(tree))
    except ValidationError as error:
        raise StudyError(explain(error, names_at)) from None
    _ = make_plan(spec) if spec.mode == "ablation" else spec.search_space()
    return spec


def trial_from(overrides: Sequence[str], base: TrialConfig | None = None) -> TrialConfig:
    """Return a trial config with ``path=value`` overrides; StudyError where one is refused."""
    tree = (base or TrialConfig()).model_dump(mode="json")
    for path, value in map(_split_override, overrides):
        set_path(tree, path, value)
    try:
        return TrialConfig.model_validate(tree)
    except ValidationError as error:
        raise StudyError(explain(error, lambda place: names_at(("baseline", *place)))) from None


def names_at(location: Sequence[str | int]) -> list[str]:
    """Return the keys that are allowed at a place of a study: ``("baseline", "model")`` -> ``["family", ...]``."""
    part: type[Part] | None = StudySpec
    for key in location:
        field = part.model_fields.get(str(key)) if part else None
        part = _part_type(field.annotation) if field else part if isinstance(key, int) else None
    return list(part.model_fields) if part else []


def _part_type(annotation: Any) -> type[Part] | None:
    options = typing.get_args(annotation) if typing.get_origin(annotation) else (annotation,)
    if isinstance(annotation, UnionType):
        options = annotation.__args__
    return next((kind for kind in options if isinstance(kind, type) and issubclass(kind, Part)), None)


def _find(study: str | Path) -> Path:
    ready = ready_studies()
    path = Path(study)
    if str(study) in ready:
        return ready[str(study)]
    if path.is_file():
        return path
    raise StudyError(
        f"no study {str(study)!r}: neither a file (looked for {path.absolute()}) nor a ready study"
        f"{nearest(str(study), ready)}; `tune-app studies` lists the ready ones"
    )


def _overridden(tree: dict[str, Any], size: str | None, overrides: Sequence[str]) -> dict[str, Any]:
    sizes = tree.get("sizes") or {}
    if size is not None and (not isinstance(sizes, dict) or size not in sizes):
        names = ", ".join(sizes) if isinstance(sizes, dict) and sizes else "none"
        raise StudyError(f"`--size` is {size!r}, but this study has {names}{nearest(size, sizes)}")
    chosen = list((sizes[size] or {}).items()) if size is not None else []
    for path, value in [*chosen, *map(_split_override, overrides)]:
        first = path.split(".", 1)[0]
        if first in ("factors", "space") and "." in path:
            _set_below(tree, first, path.split(".", 1)[1], value)
            continue
        at = f"baseline.{path}" if first in TrialConfig.model_fields else path
        try:
            set_path(tree, at, value)
        except PydanticCustomError as error:
            raise StudyError(str(error)) from None
    return tree


def _set_below(tree: dict[str, Any], first: str, name: str, value: Any) -> None:
    """Set a factor or domain, whose own name has dots."""
    if not isinstance(tree.get(first), dict):
        tree[first] = {}
    tree[first][name] = value


def _split_override(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise StudyError(f"`--set {text}` must be path=value, such as --set model.depth=20")
    return path.strip(), parse_value(value, f"--set {text}")
