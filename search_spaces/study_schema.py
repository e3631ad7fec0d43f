"""The JSON Schema of a study file, so that an editor can complete and check it while it is written.

A YAML language server takes it from ``tune-app schema > study.schema.json`` and a first line
``# yaml-language-server: $schema=study.schema.json``. What spans fields (a depth
of 6n+2, arms that are one and the same) only ``read_study`` knows.
"""

from __future__ import annotations

from typing import Any

from search_spaces.catalog import CATALOG
from search_spaces.config.base import Config
from search_spaces.config.function import FunctionConfig
from search_spaces.config.trial import TrialConfig, field_paths
from search_spaces.metrics import CLAIM_METRICS, IMAGE_METRICS
from search_spaces.study import MAX_SEEDS, StudySpec

Schema = dict[str, Any]
_FIXED = ("seed", "data.path")


def json_schema(spec: StudySpec | None = None) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a study file, short forms and all paths that can vary included.

    With a study it is that study's own: the parameters of the code that it refers to are in it.
    """
    schema = StudySpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Study"
    properties = schema["properties"]
    for config in (TrialConfig, FunctionConfig):
        own = config.model_json_schema()
        schema["$defs"] |= own.pop("$defs", {}) | {config.__name__: _written(own)}
    schema["$defs"].pop("Config", None)
    schema["$defs"]["Code"] = _written(schema["$defs"]["Code"], ("fingerprint", "packages", "schemas"))
    _describe_baseline(schema, spec)
    is_function = spec is not None and spec.task is not None
    named = {} if is_function else {path: _field(schema, path) for path in field_paths() if path not in _FIXED}
    fields = named | (_arguments(spec) if spec is not None else {})
    schema["$defs"] |= {"values": {"type": "object", "properties": fields, **_open_arguments({})}}
    fields = {path: {"$ref": f"#/$defs/values/properties/{path}"} for path in fields}
    properties["factors"] |= _factors(fields)
    properties["space"] |= _space(fields)
    tune = _definition(schema, "Tune")["properties"]
    tune["space"] |= _domains(fields)
    tune["extra"]["additionalProperties"] = _domains(fields)
    properties["sizes"]["additionalProperties"] = {"type": "object", "properties": fields}
    _widen(properties, "design", {"enum": _definition(schema, "Design")["properties"]["kind"]["enum"]})
    _widen(properties, "seeds", {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS})
    _widen(properties, "sequential", {"type": "boolean"})
    futility = _definition(schema, "Sequential")["properties"]["futility"]
    futility["anyOf"] = [
        {"type": "boolean"},
        {key: futility.pop(key) for key in ("type", "minimum", "exclusiveMaximum")},
    ]
    if spec is not None:
        properties["metric"]["enum"] = list(spec.metric_records())
    else:
        image_metric = {"properties": {"metric": {"enum": list(IMAGE_METRICS)}}}
        schema["allOf"] = [{"if": {"not": {"required": ["task"]}}, "then": image_metric}]
    _definition(schema, "Claim")["properties"]["metric"]["description"] += f": {', '.join(CLAIM_METRICS)}"
    _definition(schema, "Resources")["properties"]["gpu"]["anyOf"] = [
        {"const": "auto"},
        {"type": "number", "minimum": 0},
    ]
    _definition(schema, "Design")["properties"]["generator"]["anyOf"] = [{"type": "string"}, {"enum": [3, 4, 5]}]
    return schema


def _written(schema: Schema, derived: tuple[str, ...] = (*Config.DERIVED, "run")) -> Schema:
    """Return the schema of a record without the fields that the program sets."""
    kept = {name: field for name, field in schema["properties"].items() if name not in derived}
    return schema | {"properties": kept, "required": [name for name in schema.get("required", ()) if name in kept]}


def _describe_baseline(schema: Schema, spec: StudySpec | None) -> None:
    kinds = ["TrialConfig", "FunctionConfig"] if spec is None else ["FunctionConfig" if spec.task else "TrialConfig"]
    description = schema["properties"]["baseline"].get("description", "")
    schema["properties"]["baseline"] = {
        "anyOf": [{"$ref": f"#/$defs/{kind}"} for kind in kinds],
        "description": description,
    }


def _arguments(spec: StudySpec) -> dict[str, Schema]:
    """Return the schema of each argument of the user's code that a study's baseline names."""
    found: dict[str, Schema] = {}
    for reference, place in spec.baseline.ARGUMENTS.items():
        known = spec.baseline.schemas.get(str(spec.baseline.get(reference)), {})
        found |= {f"{place}.{name}": field for name, field in known.get("properties", {}).items()}
    return found


def _open_arguments(value: Schema) -> Schema:
    """Accept arguments of the user's code whatever they are called; `validate` knows which there are."""
    return {"patternProperties": {r"^(model\.|data\.)?args\.": value}, "additionalProperties": False}


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
    mapping = {
        "type": "object",
        "properties": levels,
        **_open_arguments({"anyOf": [_list_of({}), bundle]}),
        "additionalProperties": bundle,
    }
    countable = [name for name, domains in CATALOG.items() if all(d.size is not None for d in domains.values())]
    return {"anyOf": [mapping, _list_of({"enum": countable}), {"type": "null"}]}


def _space(fields: dict[str, Schema]) -> Schema:
    return {"anyOf": [_domains(fields), _list_of({"enum": list(CATALOG)}), {"type": "null"}]}


def _domains(fields: dict[str, Schema]) -> Schema:
    domains = {path: {"anyOf": [_list_of(field), *_RANGES]} for path, field in fields.items()}
    return {"type": "object", "properties": domains, **_open_arguments({"anyOf": [_list_of({}), *_RANGES]})}


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
