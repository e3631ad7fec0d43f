"""The JSON Schema of a study file, so that an editor can complete and check it while it is written.

A YAML language server takes it from ``tune-app schema > study.schema.json`` and a first line
``# yaml-language-server: $schema=study.schema.json``. What spans fields (a depth
of 6n+2, arms that are one and the same) only ``read_study`` knows.
"""

from __future__ import annotations

from typing import Any

from search_spaces.catalog import CATALOG
from search_spaces.config.trial import TrialConfig, field_paths
from search_spaces.published import ROUGHNESS
from search_spaces.store_schema import METRIC_NAMES
from search_spaces.study import MAX_SEEDS, StudySpec

Schema = dict[str, Any]
_FIXED = ("seed", "data.path")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a study file, short forms and all paths that can vary included."""
    schema = StudySpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Study"
    fields = {path: _field(schema, path) for path in field_paths() if path not in _FIXED}
    schema["$defs"] |= {"values": {"type": "object", "properties": fields, "additionalProperties": False}}
    fields = {path: {"$ref": f"#/$defs/values/properties/{path}"} for path in fields}
    properties = schema["properties"]
    properties["factors"] |= _factors(fields)
    properties["space"] |= _space(fields)
    properties["sizes"]["additionalProperties"] = {"type": "object", "properties": fields}
    _widen(properties, "design", {"enum": _definition(schema, "Design")["properties"]["kind"]["enum"]})
    _widen(properties, "seeds", {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS})
    properties["metric"]["enum"] = list(METRIC_NAMES)
    _definition(schema, "Figure")["properties"]["metric"]["enum"] = list(METRIC_NAMES)
    _definition(schema, "Claim")["properties"]["metric"]["enum"] = ["", *METRIC_NAMES, ROUGHNESS]
    _definition(schema, "Resources")["properties"]["gpu"]["anyOf"] = [
        {"const": "auto"},
        {"type": "number", "minimum": 0},
    ]
    _definition(schema, "Design")["properties"]["generator"]["anyOf"] = [{"type": "string"}, {"enum": [3, 4, 5]}]
    return schema


def _field(schema: Schema, path: str) -> Schema:
    """Return the schema of one field of a trial config."""
    first, _, last = path.partition(".")
    owner = type(getattr(TrialConfig(), first)) if last else TrialConfig
    field = _definition(schema, owner.__name__)["properties"][last or first]
    return {key: value for key, value in field.items() if key != "default"}


def _definition(schema: Schema, name: str) -> Schema:
    definition: Schema = schema["$defs"][name]
    return definition


def _factors(fields: dict[str, Schema]) -> Schema:
    bundle = {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/values"}}
    levels = {path: {"anyOf": [_list_of(field), bundle]} for path, field in fields.items()}
    mapping = {"type": "object", "properties": levels, "additionalProperties": bundle}
    countable = [name for name, domains in CATALOG.items() if all(d.size is not None for d in domains.values())]
    return {"anyOf": [mapping, _list_of({"enum": countable}), {"type": "null"}]}


def _space(fields: dict[str, Schema]) -> Schema:
    domains = {path: {"anyOf": [_list_of(field), *_RANGES]} for path, field in fields.items()}
    mapping = {"type": "object", "properties": domains, "additionalProperties": False}
    return {"anyOf": [mapping, _list_of({"enum": list(CATALOG)}), {"type": "null"}]}


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def _widen(properties: Schema, name: str, short: Schema) -> None:
    """Accept a short form beside the long one."""
    long = properties[name]
    about = {key: long.pop(key) for key in ("description", "default", "title") if key in long}
    properties[name] = {"anyOf": [short, long], **about}


def _short_range(kind: str, numbers: Schema, longest: int) -> Schema:
    spec = {"type": "array", "items": numbers, "minItems": 2, "maxItems": longest}
    return {"type": "object", "properties": {kind: spec}, "required": [kind], "additionalProperties": False}


_RANGES: list[Schema] = [
    _short_range("int", {"type": "integer"}, 3),
    _short_range("uniform", {"type": "number"}, 2),
    _short_range("loguniform", {"type": "number"}, 2),
    _short_range("choice", {}, 10_000) | {"title": "choice"},
    *({"$ref": f"#/$defs/{kind}"} for kind in ("Choice", "IntRange", "Uniform", "LogUniform")),
]
"""Ranges as people write them, and in full."""
