"""Read YAML that a person wrote: safely, with limits, and with mistakes located."""

from __future__ import annotations

import re
from typing import Any

import yaml

from search_spaces.errors import StudyError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_ALIASES = 100


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that refuses repeated keys and bombs, and reads 1e-4 as the number it is."""

    aliases = 0
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
        self.depth += 1
        if self.aliases > MAX_ALIASES or self.depth > MAX_DEPTH:
            limit = f"{MAX_ALIASES} aliases" if self.aliases > MAX_ALIASES else f"{MAX_DEPTH} levels"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"more than {limit}", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.MarkedYAMLError(problem="a key must be a plain word", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes "1e-4" for a word because it has no dot; people mean the number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_yaml(text: str, place: str) -> Any:
    """Return the plain data in ``text``; StudyError with file, line and column where it is not YAML."""
    if len(text.encode()) > MAX_BYTES:
        raise StudyError(f"{place} is {len(text.encode()):,} bytes, but must be at most {MAX_BYTES:,}")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise StudyError(f"{place}{where}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise StudyError(f"{place}: not valid YAML: {error}") from None


def parse_value(text: str, place: str) -> Any:
    """Return the value that ``text`` would have in a study file: ``20``, ``1e-4``, ``[1, 2]``, ``null``, ``group``."""
    return parse_yaml(text, place)
