"""The user's mistakes, and how they are told: the place, the value, what is allowed, the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError


class StudyError(ValueError):
    """A mistake in a study, its data or its results folder that its author can mend.

    The command line prints the message and exits with code 2; it never shows a traceback for it.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the valid name closest to ``name``, or an empty string."""
    match = get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""


def explain(error: ValidationError, names_at: Any = None) -> str:
    """Turn pydantic's report into one line per mistake: "`model.depth` is 21, but must be ...".

    ``names_at`` maps a location (tuple of keys) to the names that are valid there; it serves to suggest
    the nearest one for an unknown key.
    """
    return "\n".join(_explain_one(dict(detail), names_at) for detail in error.errors())


def _explain_one(detail: dict[str, Any], names_at: Any) -> str:
    context = detail.get("ctx", {})
    location = tuple(detail["loc"]) + tuple(filter(None, context.get("field", "").split(".")))
    path = dotted(location)
    value = context.get("value", detail["input"])
    match detail["type"]:
        case "extra_forbidden":
            valid = sorted(names_at(location[:-1])) if names_at else []
            hint = nearest(str(location[-1]), valid)
            allowed = f"; allowed here: {', '.join(valid)}" if valid else ""
            return f"`{path}` is not a known key{hint}{allowed}"
        case "missing":
            return f"`{path}` is missing: {detail['msg'].lower()}"
        case "literal_error":
            allowed = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
            return f"`{path}` is {value!r}, but must be one of {', '.join(allowed)}{nearest(str(value), allowed)}"
        case "value_error":
            return f"`{path}`: {context['error']}" if path else str(context["error"])
        case "must":
            return f"`{path}` is {value!r}, but must be {context['must']}"
        case _:
            message = detail["msg"].replace("Input should be", "must be").replace("a valid ", "a valid ")
            return f"`{path}` is {value!r}, but {message[0].lower()}{message[1:]}"


def dotted(location: Iterable[str | int]) -> str:
    """Return the location ``('seeds', 2)`` as a person would write it: ``seeds[2]``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
