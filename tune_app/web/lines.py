"""The line of a YAML text that a path of a study leads to."""

from __future__ import annotations

import yaml


def line_of(text: str, path: str) -> int | None:
    """Return the line (from 1) of the key that a path such as ``baseline.model.depth`` or ``seeds[2]`` leads to.

    Where the last part is not in the text, the line of the part before it.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return None
    line, rest = None, path
    while node is not None and rest:
        step = _step(node, rest)
        if step is None:
            break
        line, node, rest = step
    return line


def _step(node: yaml.Node, path: str) -> tuple[int, yaml.Node, str] | None:
    """Return the line, the node and the rest of the path after the longest key of ``node`` that begins the path."""
    if isinstance(node, yaml.MappingNode):
        keys = sorted(((str(key.value), key, value) for key, value in node.value), key=lambda item: -len(item[0]))
        for name, key, value in keys:
            if path == name or path.startswith((f"{name}.", f"{name}[")):
                return key.start_mark.line + 1, value, path[len(name) :].removeprefix(".")
    if isinstance(node, yaml.SequenceNode) and path.startswith("["):
        number, _, rest = path[1:].partition("]")
        if number.isdecimal() and int(number) < len(node.value):
            value = node.value[int(number)]
            return value.start_mark.line + 1, value, rest.removeprefix(".")
    return None
