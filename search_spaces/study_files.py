"""Study files: found by name or path, read, overridden, checked."""

from __future__ import annotations

import copy
import itertools
import typing
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from search_spaces._yaml import mapping_in, parse_value, parse_yaml, read_text
from search_spaces.config.base import Part
from search_spaces.config.trial import TrialConfig, field_paths, set_path
from search_spaces.errors import Location, StudyError, explain, nearest, shown
from search_spaces.plan import make_plan
from search_spaces.space import MAX_TRIED
from search_spaces.study import StudySpec


def ready_studies() -> dict[str, Path]:
    """Return the studies shipped with the package, name -> file."""
    folder = Path(str(files("search_spaces").joinpath("studies")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_study(study: str | Path, size: str | None = None, overrides: Sequence[str] = ()) -> StudySpec:
    """Return the checked study in a file, or the ready one of that name.

    ``size`` chooses one of the study's own sets of overrides; ``overrides`` are ``path=value`` and come last. The file
    must be right as it stands, and with each of its sizes. What the overrides take out of the plan is left out of the
    study's reference too. Raises StudyError that names the place, the value and what is allowed.
    """
    path = _find(study)
    keys = "`name`, `baseline` and `factors`"
    tree = mapping_in(parse_yaml(read_text(path), str(path)), str(path), keys)
    try:
        written = study_from(tree)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
    if size is not None or overrides:
        return _read_sized(path, tree, written, size, overrides)
    for name in written.sizes:
        _read_sized(path, tree, written, name, ())
    return written


def study_from(tree: Mapping[str, Any]) -> StudySpec:
    """Return the study that plain data describes, planned once so that every mistake shows now."""
    spec = _validated(tree)
    if spec.mode == "ablation":
        make_plan(spec)
    else:
        _check_search(spec)
    return spec


def trial_from(overrides: Sequence[str], base: TrialConfig | None = None) -> TrialConfig:
    """Return a trial config with ``path=value`` overrides; StudyError where one is refused."""
    tree = (base or TrialConfig()).model_dump(mode="json")
    for path, value in map(_split_override, overrides):
        set_path(tree, path, value)
    try:
        return TrialConfig.model_validate(tree)
    except ValidationError as error:
        raise StudyError(explain(error, lambda place: names_at(("baseline", *place)), list(field_paths()))) from None


def names_at(location: Location) -> list[str]:
    """Return the keys that are allowed at a place of a study: ``("baseline", "model")`` -> ``["family", ...]``."""
    part: type[Part] | None = StudySpec
    for key in location:
        if isinstance(key, int) or part is None:
            continue
        field = part.model_fields.get(key)
        part = _part_in(field.annotation) if field else None
    return list(part.model_fields) if part else []


def _part_in(annotation: Any) -> type[Part] | None:
    """Return the one record inside ``Part | None`` or ``tuple[Part, ...]``; None where there is none, or several."""
    kinds = {kind for kind in (annotation, *typing.get_args(annotation)) if isinstance(kind, type)}
    found = [kind for kind in kinds if issubclass(kind, Part)]
    return found[0] if len(found) == 1 else None


def _validated(tree: Mapping[str, Any]) -> StudySpec:
    try:
        return StudySpec.model_validate(dict(tree))
    except ValidationError as error:
        sections = [name for name in TrialConfig.model_fields if name not in field_paths()]
        paths = [f"baseline.{path}" for path in (*sections, *field_paths())]
        raise StudyError(explain(error, names_at, paths)) from None


def _check_search(spec: StudySpec) -> None:
    space = spec.search_space()
    if spec.search.searcher == "grid":
        for values in itertools.islice(space.grid(), MAX_TRIED):
            space.config(values)
    if spec.reference and spec.reference.named_arms():
        place, arm = spec.reference.named_arms()[0]
        raise StudyError(f"`{place}` is {arm!r}, but a study of mode search has no arms; leave it out")


def _read_sized(
    path: Path, tree: Mapping[str, Any], written: StudySpec, size: str | None, overrides: Sequence[str]
) -> StudySpec:
    try:
        return _study_within(_overridden(tree, written, size, overrides))
    except StudyError as error:
        options = [f"--size {size}"] * (size is not None) + [f"--set {text}" for text in overrides]
        raise StudyError(f"{path} with {' '.join(options)}: {error}") from None


def _study_within(tree: Mapping[str, Any]) -> StudySpec:
    """Return the study with its reference cut to the arms that are left."""
    spec = _validated(tree)
    if spec.mode == "search" or spec.reference is None:
        return study_from(tree)
    arms = make_plan(spec.model_copy(update={"reference": None})).arms
    return spec.model_copy(update={"reference": spec.reference.about([arm.name for arm in arms])})


def _find(study: str | Path) -> Path:
    ready = ready_studies()
    if str(study) in ready:
        return ready[str(study)]
    try:
        if Path(study).is_file():
            return Path(study)
    except OSError as error:
        raise StudyError(f"{shown(str(study))}: cannot be read: {error.strerror}") from None
    raise StudyError(
        f"no study {shown(str(study))}: neither a file (looked in {Path.cwd()}) nor a ready study"
        f"{nearest(study, ready)}; `tune-app studies` lists the ready ones"
    )


def _overridden(
    tree: Mapping[str, Any], written: StudySpec, size: str | None, overrides: Sequence[str]
) -> dict[str, Any]:
    if size is not None and size not in written.sizes:
        names = ", ".join(written.sizes) or "none"
        raise StudyError(f"`--size` is {size!r}, but this study has {names}{nearest(size, written.sizes)}")
    changed = copy.deepcopy(dict(tree))
    for part in ("factors", "space"):
        if isinstance(tree.get(part), list):  # names of the catalog, which an override is added to
            changed[part] = dict(getattr(written, part))
    chosen = written.sizes[size].items() if size is not None else ()
    for path, value in [*chosen, *map(_split_override, overrides)]:
        _override(changed, path, value)
    return changed


def _override(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set what a path of a study, or of a trial config, leads to; null takes a factor or a domain away."""
    first, _, rest = path.partition(".")
    if first in ("factors", "space") and rest and isinstance(tree.get(first), dict | None):
        entries = {**(tree.get(first) or {}), rest: value}
        tree[first] = {name: levels for name, levels in entries.items() if levels is not None}
    elif first == "design" and rest and isinstance(tree.get(first), str):
        tree[first] = {"kind": tree[first], rest: value}
    else:
        set_path(tree, f"baseline.{path}" if first in TrialConfig.model_fields else path, value)


def _split_override(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise StudyError(f"`--set {text}` must be path=value, such as --set model.depth=20")
    return path.strip(), parse_value(value, f"--set {text}")
