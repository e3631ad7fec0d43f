"""Arguments of user code: checked against the JSON Schema of its parameters, with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.config.base import must, refused
from search_spaces.errors import dotted, nearest, shown

if TYPE_CHECKING:
    from jsonschema import ValidationError

Schema = Mapping[str, Any]


def checked_arguments(
    field: str, arguments: Mapping[str, Any], schema: Schema | None, reference: str
) -> dict[str, Any]:
    """Return the arguments with defaults filled in, in the schema's types; the error of the first that is refused.

    ``schema`` is the JSON Schema of the parameters, None where the code has not been looked at: then every argument is
    accepted. A whole number where a number is wanted becomes a float, so that 1 and 1.0 are the same argument.
    """
    if schema is None:
        return dict(arguments)
    properties = schema.get("properties", {})
    for name, value in arguments.items():
        if name not in properties and schema.get("additionalProperties") is False:
            raise _unknown(f"{field}.{name}", value, properties, reference)
    filled = {name: part["default"] for name, part in properties.items() if "default" in part} | dict(arguments)
    typed = _typed(filled, schema, schema)
    if not typed and not schema.get("required"):
        return {}
    from jsonschema import Draft202012Validator  # slow to import, and few studies have arguments

    validator = Draft202012Validator(schema)
    error = next(iter(sorted(validator.iter_errors(typed), key=lambda e: list(map(str, e.absolute_path)))), None)
    if error is not None:
        raise _explained(field, error, reference)
    return dict(typed)


def _typed(value: Any, schema: Schema, root: Schema) -> Any:
    """Return the value with whole numbers as floats where the schema wants a number."""
    if "$ref" in schema:
        schema = root.get("$defs", {}).get(schema["$ref"].rsplit("/", 1)[-1], {})
    kinds = {schema.get("type"), *(option.get("type") for option in schema.get("anyOf", ()))}
    if isinstance(value, int) and not isinstance(value, bool) and "number" in kinds and "integer" not in kinds:
        return float(value)
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        return {name: _typed(part, inner.get(name, {}), root) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_typed(part, schema.get("items", {}) or {}, root) for part in value]
    return value


def _unknown(place: str, value: Any, properties: Mapping[str, Any], reference: str) -> Exception:
    names = ", ".join(sorted(properties))
    name = place.rsplit(".", 1)[-1]
    has = f"has no such parameter{nearest(name, properties)}; it has {names}" if properties else "takes none"
    return refused(place.lstrip("."), value, f"is {shown(value)}, but {reference} {has}")


def _explained(field: str, error: ValidationError, reference: str) -> Exception:
    place = dotted([field, *error.absolute_path] if field else error.absolute_path)
    expected: Any = error.validator_value
    match error.validator:
        case "required":
            given: Any = error.instance
            missing = next(name for name in expected if name not in given)
            return refused(f"{place}.{missing}".lstrip("."), None, f"is missing: {reference} has no default for it")
        case "enum" | "const":
            allowed = [expected] if error.validator == "const" else expected
            names = ", ".join(map(str, allowed))
            return must(place, error.instance, f"one of {names}{nearest(error.instance, map(str, allowed))}")
        case "type":
            wanted = expected
            kinds = [wanted] if isinstance(wanted, str) else wanted
            return must(place, error.instance, " or ".join(_KINDS.get(kind, kind) for kind in kinds))
        case "additionalProperties" if expected is False:
            found: Any = error
            known = found.schema.get("properties", {})
            name = next(name for name in found.instance if name not in known)
            return _unknown(f"{place}.{name}", found.instance[name], known, reference)
        case "anyOf" if (inner := _inside(error)) is not None:
            return _explained(field, inner, reference)
        case "anyOf":
            kinds = [option.get("type") for option in expected if option.get("type")]
            return must(place, error.instance, " or ".join(_KINDS.get(kind, kind) for kind in kinds) or "another value")
        case kind if kind in _LIMITS:
            return must(place, error.instance, f"{_LIMITS[kind]} {expected}")
    return must(place, error.instance, f"accepted by {reference}: {error.message}")


def _inside(error: ValidationError) -> ValidationError | None:
    """Return the first mistake in the one option of a choice that is of the value's kind; None where it is not one."""
    found = [e for e in error.context or () if e.validator != "type" or e.absolute_path != error.absolute_path]
    return found[0] if len({inner.schema_path[0] for inner in found}) == 1 else None


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list: [a, b]",
    "object": "a mapping",
    "null": "null",
}
_LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "above",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
}
