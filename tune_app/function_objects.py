"""Function objects in place of references: those of a notebook, and those of an importable module."""

from __future__ import annotations

import copy
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search_spaces.errors import StudyError

_SCALARS = (int, float, str, bytes, bool, type(None))
_CONTAINERS = (dict, list, tuple, set, frozenset)


def with_references(study: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[..., Any]], Path]:
    """Return a study with references in place of function objects, the objects by reference, and the code's root.

    A function of a module file is replaced by its import path. One that lives in a notebook or in the script itself is
    returned by reference; StudyError where its source cannot be read or it depends on variables around it.
    """
    objects: dict[str, Callable[..., Any]] = {}
    roots: set[Path] = set()

    def replaced(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: replaced(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [replaced(inner) for inner in value]
        if not (inspect.isroutine(value) or inspect.isclass(value)):
            return copy.copy(value)
        file = getattr(sys.modules.get(value.__module__), "__file__", None)
        if value.__module__ != "__main__" and file is not None and "<locals>" not in value.__qualname__:
            depth = value.__module__.count(".") + (Path(file).name == "__init__.py")
            roots.add(Path(file).resolve().parents[depth])
        else:
            source_of(value)
            objects[f"{value.__module__}:{value.__qualname__.replace('<locals>.', '')}"] = value
        return f"{value.__module__}:{value.__qualname__.replace('<locals>.', '')}"

    tree = replaced(study)
    if len(roots) > 1:
        raise StudyError(f"functions come from {len(roots)} different folders; put them below one, or name `code.root`")
    return tree, objects, roots.pop() if roots else Path.cwd()


def source_of(function: Any) -> str:
    """Return the source of a function or class, with that of what it uses from its own module, for a fingerprint.

    StudyError where that cannot be had.
    """
    found: dict[str, str] = {}
    _collect(function, found)
    return "\n".join(f"{name}\n{found[name]}" for name in sorted(found))


def _collect(thing: Any, found: dict[str, str]) -> None:
    name = thing.__qualname__
    if name in found:
        return
    if inspect.isfunction(thing) and thing.__code__.co_freevars:
        raise StudyError(
            f"{name} uses {', '.join(thing.__code__.co_freevars)} of the function around it, which cannot be "
            "fingerprinted; pass these as arguments of the study"
        )
    try:
        found[name] = inspect.getsource(thing)
    except (OSError, TypeError):
        raise StudyError(f"the source of {name} cannot be read; put it into a module and refer to that") from None
    for base in thing.__bases__ if inspect.isclass(thing) else ():
        _collect_used(base.__name__, base, thing.__module__, found)
    for function in _functions(thing):
        for code in _codes(function.__code__):
            for used in code.co_names:
                _collect_used(used, function.__globals__.get(used), thing.__module__, found)


def _collect_used(name: str, value: Any, module: str, found: dict[str, str]) -> None:
    if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module:
        _collect(value, found)
    elif value is not None and isinstance(value, _SCALARS + _CONTAINERS):
        found[name] = _text(value, module, found, ())


def _functions(thing: Any) -> list[types.FunctionType]:
    """Return a function, or those of a class: methods, class methods, static methods and getters of properties."""
    if inspect.isfunction(thing):
        return [thing]
    members = [getattr(m, "__func__", None) or getattr(m, "fget", None) or m for m in vars(thing).values()]
    return [member for member in members if inspect.isfunction(member)]


def _text(value: Any, module: str, found: dict[str, str], around: tuple[int, ...]) -> str:
    """Return a constant as text, the same in every process; functions in it are collected and appear by name."""
    if id(value) in around:
        return "..."
    inner = (*around, id(value))
    if isinstance(value, dict):
        pairs = [[_text(each, module, found, inner) for each in pair] for pair in value.items()]
        return "{" + ", ".join(map(": ".join, pairs)) + "}"
    if isinstance(value, _CONTAINERS):
        texts = [_text(each, module, found, inner) for each in value]
        if isinstance(value, list):
            return f"[{', '.join(texts)}]"
        if isinstance(value, tuple):
            return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
        return f"{{{', '.join(sorted(texts))}}}"
    if inspect.isfunction(value) or inspect.isclass(value):
        _collect_used(value.__qualname__, value, module, found)
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value) if isinstance(value, _SCALARS) else type(value).__qualname__


def _codes(code: types.CodeType) -> list[types.CodeType]:
    """Return a code object and those of the functions inside it."""
    inner = [c for constant in code.co_consts if isinstance(constant, types.CodeType) for c in _codes(constant)]
    return [code, *inner]
