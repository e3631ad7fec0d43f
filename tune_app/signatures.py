"""What a user's function takes, and how it is called."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

from search_spaces.errors import StudyError

ARRAYS_GIVEN = frozenset({"channels", "classes", "resolution"})
CONTEXT = "context"
_GIVEN = ARRAYS_GIVEN | {CONTEXT}


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON Schema of what a study may set for a function.

    That is the config that its first parameter is annotated with (a dataclass or a pydantic model), or else its keyword
    parameters. ``context``, and a network's ``channels``, ``classes`` and ``resolution``, are given by the program.
    Raises StudyError where the annotation of another parameter cannot be evaluated.
    """
    config = config_class(function)
    if config is not None:
        return dict(_closed(TypeAdapter(config).json_schema()))
    fields: dict[str, Any] = {}
    is_open = False
    for name, parameter in _signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = True
        elif name not in _GIVEN and parameter.kind is not parameter.VAR_POSITIONAL:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (_annotation(function, parameter), default)
    model = create_model("Arguments", __config__=ConfigDict(arbitrary_types_allowed=True), **fields)
    return dict(_closed(model.model_json_schema() | {"additionalProperties": is_open}))


def _closed(schema: Any) -> Any:
    """Return a JSON Schema whose objects with properties allow no others, where it does not say that they do."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    has_properties = schema.get("type") == "object" and "properties" in schema
    closed = {"additionalProperties": False} if has_properties else {}
    return closed | {name: _closed(part) for name, part in schema.items()}


def config_class(function: Callable[..., Any]) -> type | None:
    """Return the dataclass or pydantic model that a function's first parameter is annotated with, if it is one."""
    first = next((one for name, one in _signature(function).parameters.items() if name != CONTEXT), None)
    if first is None or first.name in _GIVEN or first.kind in (first.VAR_POSITIONAL, first.VAR_KEYWORD):
        return None
    kind = _annotation(function, first)
    is_config = isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel))
    return kind if is_config else None


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return inspect.Signature([inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD)])


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the type that a parameter is annotated with; StudyError for a text that cannot be evaluated."""
    found = Any if parameter.annotation is parameter.empty else parameter.annotation
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"it": found}), _namespace(function))["it"]
    except Exception as error:
        raise StudyError(
            f"the annotation of the parameter {parameter.name!r} cannot be evaluated, so that its arguments cannot be "
            f"checked ({error}); import what it names outside `if TYPE_CHECKING`, or annotate with a plain type"
        ) from None


def _namespace(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what the names in a function's annotations refer to."""
    target = function.func if isinstance(function, partial) else function
    made = inspect.unwrap(target.__init__) if inspect.isclass(target) else inspect.unwrap(target)
    found: dict[str, Any] | None = getattr(made, "__globals__", None)
    return vars(sys.modules[target.__module__]) if found is None else found


def call(function: Callable[..., Any], arguments: Mapping[str, Any], context: Any) -> Any:
    """Return what a training function returns for the arguments of a study.

    A config class is made from the arguments and passed first; otherwise they are keyword arguments. ``context`` is
    passed where the function takes it.
    """
    config, taken = config_class(function), _signature(function).parameters
    if config is None:
        given = {CONTEXT: context} if CONTEXT in taken else {}
        return function(**arguments, **given)
    made: Any = TypeAdapter(config).validate_python(dict(arguments))
    if CONTEXT in taken:
        return function(made, **{CONTEXT: context})
    return function(made, context) if len(taken) > 1 else function(made)
