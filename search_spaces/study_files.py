"""Study files: found by name or path, read, overridden, checked."""

from __future__ import annotations

import copy
import itertools
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from search_spaces._yaml import mapping_in, parse_yaml, read_text
from search_spaces.code import Code, code_files, fingerprint, package_versions, require_files
from search_spaces.config.base import Config, Part, is_reference, set_path
from search_spaces.config.function import FunctionConfig
from search_spaces.config.trial import TrialConfig, field_paths
from search_spaces.errors import Location, StudyError, explain, nearest, shown
from search_spaces.overrides import options_named, overridden, split_override
from search_spaces.plan import make_plan
from search_spaces.space import MAX_TRIED
from search_spaces.study import StudySpec


def ready_studies() -> dict[str, Path]:
    """Return the studies shipped with the package, name -> file."""
    folder = Path(str(files("search_spaces").joinpath("studies")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


Describe = Callable[[Path, Sequence[str], str], Mapping[str, Any]]
"""From the folder that user code is imported from, references and the code's fingerprint to the JSON Schema of the
parameters of each reference."""


def read_study(
    study: str | Path, size: str | None = None, overrides: Sequence[str] = (), describe: Describe | None = None
) -> StudySpec:
    """Return the checked study in a file, or the ready one of that name.

    ``size`` chooses one of the study's own sets of overrides; ``overrides`` are ``path=value`` and come last. The file
    must be right as it stands, and with each of its sizes. What the overrides take out of the plan is left out of the
    study's reference too. ``describe`` looks at the user's code that the study refers to; without it, arguments of such
    code are not checked. Raises StudyError that names the place, the value and what is allowed.
    """
    path = _find(study)
    keys = "`name`, `baseline` and `factors`"
    tree = mapping_in(parse_yaml(read_text(path), str(path)), str(path), keys)
    return checked_study(tree, path.resolve().parent, str(path), size, overrides, describe)


def checked_study(
    tree: Mapping[str, Any],
    folder: Path,
    place: str = "the study",
    size: str | None = None,
    overrides: Sequence[str] = (),
    describe: Describe | None = None,
    sources: Mapping[str, str] | None = None,
) -> StudySpec:
    """Return the checked study that plain data describes, with its sizes and user code, as `read_study` does.

    ``folder`` is what ``code.root`` is relative to; ``place`` names the study in messages; ``sources`` are the texts of
    functions that live in no file, by reference.
    """
    written = {**tree, "training_version": None}
    with options_named(place, size, overrides):
        changes = dict(map(split_override, overrides))
        for path in [path for path in changes if path.split(".")[0] == "code"]:
            set_path(written, path, changes.pop(path))
    try:
        with_code = _with_code(copy.deepcopy(written), folder, changes, describe, sources or {})
        spec = study_from(with_code)
    except StudyError as error:
        raise StudyError(f"{place}: {error}") from None
    own = [text for text in overrides if text.partition("=")[0].strip().split(".")[0] != "code"]
    if size is not None or own:
        return _read_sized(place, with_code, spec, size, own)
    for name in spec.sizes:
        _read_sized(place, with_code, spec, name, ())
    return spec


def study_from(tree: Mapping[str, Any]) -> StudySpec:
    """Return the study that plain data describes, planned once so that every mistake shows now."""
    spec = _validated(tree)
    if spec.mode == "ablation":
        make_plan(spec)
    else:
        _check_search(spec)
    return spec


def study_from_store(tree: Mapping[str, Any]) -> StudySpec:
    """Return the study that a results store holds, with what the release that wrote it did: its digests are found.

    The first release (schema 1) named no training version, and chose by the validation accuracy whatever the metric.
    """
    known = {key: value for key, value in tree.items() if key != "reference_arm"}
    if "training_version" not in tree:
        known["choose_by"] = "val_accuracy"
    return study_from({**known, "training_version": tree.get("training_version") or 1})


def study_to_store(spec: StudySpec) -> dict[str, Any]:
    """Return a study as plain data for its results store; `study_from_store` reads it back."""
    tree = spec.model_dump(mode="json", exclude={"sizes": True, "code": {"root"}})
    tree["training_version"] = spec.baseline.training_version
    tree["choose_by"] = spec.choose_by_metric()
    if spec.mode == "ablation":
        tree["reference_arm"] = make_plan(spec).reference_arm
    return tree


def references_in(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    """Return every reference to user code that a study makes: its task, and networks and sources in any level.

    ``changes``: path -> value of overrides. Those of all the study's sizes count too.
    """
    sizes = tree.get("sizes")
    parts = [tree, changes, *(sizes.values() if isinstance(sizes, Mapping) else ())]
    found = [run for part in parts if isinstance(part, Mapping) for run in _task_runs(part) if is_reference(run)]
    places = set(TrialConfig.ARGUMENTS)

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                own = str(key)
                walk(inner, own if own in places or not path else f"{path}.{own}")
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner, path)
        elif is_reference(value) and any(path == place or path.endswith(f".{place}") for place in places):
            found.append(value)

    sections = {key: tree[key] for key in ("baseline", "factors", "space", "tune", "sizes") if key in tree}
    walk(sections, "")
    walk(changes, "")
    return list(dict.fromkeys(found))


def _task_runs(part: Mapping[str, Any]) -> list[Any]:
    """Return what a study or a set of overrides gives as its training function, by either notation."""
    task = part.get("task")
    return [part.get("task.run"), task.get("run") if isinstance(task, Mapping) else None]


def _with_code(
    tree: Mapping[str, Any],
    folder: Path,
    changes: Mapping[str, Any],
    describe: Describe | None,
    sources: Mapping[str, str],
) -> dict[str, Any]:
    """Return the study's data with what is found out about the user's code that it refers to."""
    references = references_in(tree, changes)
    written = tree.get("code")
    if not references:
        if written is not None:
            raise StudyError("`code` is given, but nothing refers to code: no `task`, `model.family` or `data.source`")
        return dict(tree)
    if not isinstance(written, Mapping | None):
        raise StudyError(f"`code` is {shown(written)}, but must be a mapping: {{root: ., include: [my_pkg/**/*.py]}}")
    kept = {key: value for key, value in (written or {}).items() if key not in ("fingerprint", "packages", "schemas")}
    code = _part_from(Code, kept, "code")
    try:
        root = (folder / Path(code.root).expanduser()).resolve()
    except (RuntimeError, ValueError, OSError) as error:
        raise StudyError(f"`code.root` is {shown(code.root)}, which is no usable path: {error}") from None
    if not root.is_dir():
        raise StudyError(f"`code.root` is {shown(code.root)}, but {root} is no folder")
    files = code_files(root, code.include, references)
    packages = package_versions(root, references)
    own = fingerprint(root, files, packages, sources)
    schemas = describe(root, references, own) if describe is not None else {}
    if describe is not None:
        require_files(root, files, [reference for reference in references if reference not in sources])
    filled = {"fingerprint": own, "packages": packages, "schemas": dict(schemas)}
    return {**tree, "code": {"root": str(root), "include": list(code.include), **filled}}


def _part_from(kind: type[Code], tree: Mapping[str, Any], place: str) -> Code:
    try:
        return kind.model_validate(dict(tree))
    except ValidationError as error:
        raise StudyError(explain(error, lambda at: names_at((place, *at))).replace("`", f"`{place}.", 1)) from None


def trial_from(overrides: Sequence[str], base: TrialConfig | None = None) -> TrialConfig:
    """Return a trial config with ``path=value`` overrides; StudyError where one is refused."""
    tree = (base or TrialConfig()).model_dump(mode="json")
    for path, value in map(split_override, overrides):
        set_path(tree, path, value)
    try:
        return TrialConfig.model_validate(tree)
    except ValidationError as error:
        names = partial(_config_names, TrialConfig)
        raise StudyError(explain(error, names, list(field_paths()))) from None


def names_at(location: Location, config: type[Config] = TrialConfig) -> list[str]:
    """Return the keys that are allowed at a place of a study: ``("baseline", "model")`` -> ``["family", ...]``."""
    if location[:1] == ("baseline",):
        return _config_names(config, location[1:])
    return _names_in(StudySpec, location)


def _config_names(config: type[Config], location: Location) -> list[str]:
    return [name for name in _names_in(config, location) if name not in (*Config.DERIVED, "run")]


def _names_in(part: type[BaseModel] | None, location: Location) -> list[str]:
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
        config: type[Config] = TrialConfig if tree.get("task") is None else FunctionConfig
        fields = config.fields()
        sections = [name for name in _config_names(config, ()) if name not in fields]
        paths = [f"baseline.{path}" for path in (*sections, *fields)]
        raise StudyError(explain(error, partial(names_at, config=config), paths)) from None


def _check_search(spec: StudySpec) -> None:
    space = spec.search_space()
    if spec.search.searcher == "grid":
        for values in itertools.islice(space.grid(), MAX_TRIED):
            space.config(values)
    if spec.reference and spec.reference.named_arms():
        place, arm = spec.reference.named_arms()[0]
        raise StudyError(f"`{place}` is {arm!r}, but a study of mode search has no arms; leave it out")


def _read_sized(
    place: str, tree: Mapping[str, Any], written: StudySpec, size: str | None, overrides: Sequence[str]
) -> StudySpec:
    with options_named(place, size, overrides):
        return _study_within(overridden(tree, written, size, overrides))


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
