"""What a user's function takes, and how it is called."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

ARRAYS_GIVEN = frozenset({"channels", "classes", "resolution"})
CONTEXT = "context"


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON Schema of what a study may set for a function.

    That is the config that its first parameter is annotated with (a dataclass or a pydantic model), or else its keyword
    parameters. ``context``, and a network's ``channels``, ``classes`` and ``resolution``, are given by the program.
    """
    config = config_class(function)
    if config is not None:
        schema = TypeAdapter(config).json_schema()
        return schema if "additionalProperties" in schema else schema | {"additionalProperties": False}
    hints = _hints(function)
    fields: dict[str, Any] = {}
    is_open = False
    for name, parameter in _signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = True
        elif name not in ARRAYS_GIVEN | {CONTEXT} and parameter.kind is not parameter.VAR_POSITIONAL:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    model = create_model("Arguments", __config__=ConfigDict(arbitrary_types_allowed=True), **fields)
    return model.model_json_schema() | {"additionalProperties": is_open}


def config_class(function: Callable[..., Any]) -> type | None:
    """Return the dataclass or pydantic model that a function's first parameter is annotated with, if it is one."""
    names = [name for name in _signature(function).parameters if name != CONTEXT]
    kind = _hints(function).get(names[0]) if names else None
    is_config = isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel))
    return kind if is_config else None


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return inspect.Signature([inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD)])


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function.__init__ if inspect.isclass(function) else function
    try:
        return get_type_hints(target)
    except (NameError, TypeError):  # an annotation that cannot be evaluated says nothing about the value
        return {}


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
