"""Overrides of a study: those of a size, and path=value of the command line."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from search_spaces._yaml import parse_value
from search_spaces.config.base import Config, set_path
from search_spaces.config.function import FunctionConfig
from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError, nearest
from search_spaces.study import StudySpec


@contextmanager
def options_named(place: str, size: str | None, overrides: Sequence[str]) -> Iterator[None]:
    """Put the place and the options of the command line before the message of a StudyError."""
    try:
        yield
    except StudyError as error:
        options = [f"--size {size}"] * (size is not None) + [f"--set {text}" for text in overrides]
        raise StudyError(f"{place} with {' '.join(options)}: {error}") from None


def overridden(
    tree: Mapping[str, Any], written: StudySpec, size: str | None, overrides: Sequence[str]
) -> dict[str, Any]:
    """Return a study's data with the overrides of a size and of the command line; ``written``: the study without."""
    if size is not None and size not in written.sizes:
        names = ", ".join(written.sizes) or "none"
        raise StudyError(f"`--size` is {size!r}, but this study has {names}{nearest(size, written.sizes)}")
    changed = copy.deepcopy(dict(tree))
    for part in ("factors", "space"):
        if isinstance(tree.get(part), list):  # names of the catalog, which an override is added to
            changed[part] = dict(getattr(written, part))
    chosen = written.sizes[size].items() if size is not None else ()
    for path, value in [*chosen, *map(split_override, overrides)]:
        _override(changed, path, value)
    return changed


def _override(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set what a path of a study, or of a trial config, leads to; null takes a factor or a domain away."""
    first, _, rest = path.partition(".")
    if path.startswith("tune.space.") and isinstance(tree.get("tune"), dict):
        rest = path.removeprefix("tune.space.")
        entries = {**(tree["tune"].get("space") or {}), rest: value}
        tree["tune"]["space"] = {name: domain for name, domain in entries.items() if domain is not None}
    elif first in ("factors", "space") and rest and isinstance(tree.get(first), dict | None):
        entries = {**(tree.get(first) or {}), rest: value}
        tree[first] = {name: levels for name, levels in entries.items() if levels is not None}
    elif first == "design" and rest and isinstance(tree.get(first), str):
        tree[first] = {"kind": tree[first], rest: value}
    else:
        config: type[Config] = TrialConfig if tree.get("task") is None else FunctionConfig
        is_trial = first in config.model_fields and first != "choose_by"  # the study's, which gives it to configs
        set_path(tree, f"baseline.{path}" if is_trial else path, value)


def split_override(text: str) -> tuple[str, Any]:
    """Return the path and the value of ``path=value``."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise StudyError(f"`--set {text}` must be path=value, such as --set model.depth=20")
    return path.strip(), parse_value(value, f"--set {text}")
