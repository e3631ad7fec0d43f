"""Errors for user mistakes, and their messages: the location, the value, what is allowed, the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

Location = tuple[str | int, ...]
NamesAt = Callable[[Location], Sequence[str]]


class StudyError(ValueError):
    """A mistake in a study, its data or its results folder that the user can correct.

    The command line prints the message without a traceback and exits with code 2.
    """


def nearest(name: object, valid: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the valid name closest to ``name``, or an empty string.

    A name without dots is compared with the last words of the valid names: ``lr`` matches ``optimizer.lr``.
    """
    word, names = str(name), list(valid)
    by_word = {path if "." in word else path.rsplit(".", 1)[-1]: path for path in reversed(names)}
    match = get_close_matches(word, by_word, n=1, cutoff=0.5)
    return f" (did you mean {by_word[match[0]]!r}?)" if match else ""


def headline(error: str) -> str:
    """Return the line of a stored error that says what happened.

    That is the first line where it is a message, such as one that names the user's own code. Of a plain traceback, or
    one of a process of Ray, it is the line of the exception, not a further line of its message or of its notes.
    """
    lines = error.strip().splitlines()
    if not lines or not (lines[0].startswith("Traceback") or "(pid=" in lines[0]):
        return lines[0] if lines else ""
    last_frame = max((place for place, line in enumerate(lines) if line.startswith('  File "')), default=0)
    return next((line for line in lines[last_frame + 1 :] if line.strip() and not line.startswith(" ")), lines[-1])


def shown(value: object, limit: int = 80) -> str:
    """Return ``value`` in the notation of a study file, truncated to ``limit`` characters."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = str(value).replace("inf", ".inf").replace("nan", ".nan")
    else:
        text = repr(value) if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def dotted(location: Iterable[str | int]) -> str:
    """Return the location ``('seeds', 2)`` as a path: ``seeds[2]``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


MAX_MISTAKES = 50
"""How many mistakes of one study are explained: each looks for the nearest valid name."""


def explain(error: ValidationError, names_at: NamesAt | None = None, paths: Sequence[str] = ()) -> str:
    """Convert pydantic's errors, up to MAX_MISTAKES of them, into a line each: "`model.depth` is 21, but must be ...".

    ``names_at`` maps a location to the names that are valid there, and ``paths`` are all dotted paths: both are used to
    suggest the nearest valid name for an unknown key.
    """
    details = error.errors(include_url=False)
    lines = [_explain_one(dict(detail), names_at, paths) for detail in details[:MAX_MISTAKES]]
    if len(details) > MAX_MISTAKES:
        lines.append(f"and {len(details) - MAX_MISTAKES:,} more mistakes")
    return "\n".join(lines)


def _explain_one(detail: dict[str, Any], names_at: NamesAt | None, paths: Sequence[str]) -> str:
    context = detail.get("ctx", {})
    inner = (int(key) if key.isdecimal() else key for key in context.get("field", "").split(".") if key)
    location = (*_location(detail["loc"]), *inner)
    path = dotted(location)
    value = shown(context.get("value", detail["input"]))
    names = sorted(names_at(location)) if names_at else []
    match detail["type"]:
        case "extra_forbidden":
            return f"`{path}` is not a known key{_allowed_keys(location, names_at, paths)}"
        case "missing":
            return f"`{path}` is missing"
        case "value_error":
            return str(context["error"])
        case "literal_error":
            allowed = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
            return f"`{path}` is {value}, but must be one of {', '.join(allowed)}{nearest(detail['input'], allowed)}"
        case "refused":
            return f"`{path}` {context['sentence']}"
        case "must":
            return f"`{path}` is {value}, but must be {context['must']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            keys = f" with keys such as {', '.join(names[:4])}" if names else ""
            return f"`{path}` is {value}, but must be a mapping{keys}; leave it out for the default"
        case "invalid_key":
            return f"`{dotted(location[:-1])}` has the key {value}, but keys must be words"
        case kind:
            rule = _RULES.get(kind, "of another kind or size")
            if location and location[-1] == "[key]":
                return f"`{dotted(location[:-2])}` has the key {value}, but keys must be {rule} (quote it)"
            limits = {key: f"{bound:,.15g}" for key, bound in context.items() if isinstance(bound, int | float)}
            return f"`{path}` is {value}, but must be {rule.format(**limits)}"


def _allowed_keys(location: Location, names_at: NamesAt | None, paths: Sequence[str]) -> str:
    valid = sorted(names_at(location[:-1])) if names_at else []
    hint = nearest(location[-1], [*valid, *paths])
    return hint + (f"; allowed here: {', '.join(valid)}" if valid else "")


def _location(location: Location) -> Location:
    """Leave out the kind of domain, which pydantic puts after the path: ``("space", "optimizer.lr", "uniform")``."""
    return location[:2] + location[3:] if location[:1] == ("space",) and location[2:3] != ("[key]",) else location


_RULES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_too_long": "at most {max_length} characters long",
    "too_long": "a list of at most {max_length} entries",
    "bool_type": "true or false",
    "tuple_type": "a list: [a, b]",
    "list_type": "a list: [a, b]",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}
"""Type of a pydantic error -> the requirement, as shown in the message."""
