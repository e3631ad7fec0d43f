"""A process of its own that looks at the user's code: ``python -m tune_app.child REQUEST`` writes an answer file."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

from search_spaces.errors import StudyError
from tune_app.user_code import CodeSource, is_adapter, make_importable, resolve, user_traceback

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
    target = function.__init__ if inspect.isclass(function) else function  # type: ignore[misc]
    try:
        return get_type_hints(target)
    except (NameError, TypeError):  # an annotation that cannot be evaluated says nothing about the value
        return {}


def describe(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of each reference; a library's own names take any argument."""
    return {r: {} if is_adapter(r) else _described(r) for r in request["references"]}


def _described(reference: str) -> dict[str, Any]:
    function = resolve(reference)
    try:
        schema = parameters(function)
        json.dumps(schema)
    except Exception as error:  # pydantic raises many kinds for types that no study file can hold
        raise StudyError(
            f"`{reference}`: its parameters cannot be described ({str(error).splitlines()[0]}); annotate them with "
            "plain types (int, float, str, bool, lists of these) and give defaults that a study file can hold"
        ) from error
    return schema


def load_arrays(request: Mapping[str, Any]) -> dict[str, Any]:
    """Call a user's data function and write its arrays as .npy files."""
    from tune_app.data.sources.own import save_arrays

    return save_arrays(resolve(request["reference"])(**request["args"]), Path(request["folder"]), request["reference"])


ANSWERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {"describe": describe, "load": load_arrays}


def main() -> None:
    """Answer the request in the first argument."""
    request = json.loads(sys.argv[1])
    root = request["root"]
    make_importable(CodeSource(root))
    try:
        answer = {"result": ANSWERS[request["what"]](request)}
        text = json.dumps(answer)
    except StudyError as error:
        text = json.dumps({"error": str(error)})
    except Exception as error:
        text = json.dumps({"error": user_traceback(error, [root]).split("\n\nTraceback")[0]})
    Path(request["answer"]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
