"""Read the documents of studies and stores within limits of size and depth, with errors that give line and column."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from search_spaces.errors import StudyError, shown
from search_spaces.files import open_regular

MAX_BYTES = 500_000
MAX_STORED_BYTES = 4 * MAX_BYTES
MAX_DEPTH = 32
MAX_NODES = 50_000
MAX_DIGITS = 400


class _LimitedLoader(yaml.SafeLoader):
    """PyYAML's safe loader without repeated keys, tags, merge keys and circles, within limits of depth and size.

    Plain words are read as `yaml.safe_dump` writes them (YAML 1.1).
    """

    max_nodes = 2 * MAX_NODES  # a store's study holds what a study leaves out, too

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.nodes = 0
        self.weights: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node; an alias counts as many nodes as the value that it refers to."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        before = self.nodes
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias and event.anchor in self.anchors and event.anchor not in self.weights:
            raise _mistake(f"alias *{event.anchor} is inside the value that it refers to", event)
        if not is_alias and event.tag is not None:
            raise _mistake(f"tag {event.tag!r} is not supported; write plain words, numbers, lists and mappings", event)
        self.nodes += self.weights.get(event.anchor, 1) if is_alias else 1
        self.depth += 1
        if self.nodes > self.max_nodes or self.depth > MAX_DEPTH:
            limit = f"{self.max_nodes:,} values" if self.nodes > self.max_nodes else f"{MAX_DEPTH} levels"
            raise _mistake(f"more than {limit}", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if event.anchor is not None and not is_alias:
            self.weights[event.anchor] = self.nodes - before
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping with scalar, distinct keys."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise _mistake("a key must be a plain word", key_node)
            if key == "<<":
                raise _mistake("merge keys (<<) are not supported; write the keys out", key_node)
            if key in seen:
                raise _mistake(f"key {key!r} is given twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Construct a whole number with at most MAX_DIGITS digits."""
        if len(node.value) > MAX_DIGITS:
            raise _mistake(f"a number of {len(node.value):,} digits", node)
        return super().construct_yaml_int(node)


class _Loader(_LimitedLoader):
    """The loader of what a person wrote: plain words follow YAML 1.2's core schema.

    Only ``true`` and ``false`` are booleans (``no`` and ``on`` are words), and ``1e-4`` is a number.
    """

    max_nodes = MAX_NODES
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own shape


def _mistake(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


_LimitedLoader.add_constructor("tag:yaml.org,2002:int", _LimitedLoader.construct_yaml_int)
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def parse_yaml(text: str, place: str) -> Any:
    """Return the plain data in ``text``; StudyError with file, line and column where it is not YAML."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise StudyError(f"{place} is larger than {MAX_BYTES:,} bytes, which no study needs")
    return _parse(text, place, _Loader)


def parse_stored(content: bytes, place: str) -> Any:
    """Return the plain data in a document of a results store, written by `yaml.safe_dump`, or JSON where ``place`` is.

    The same limits hold as for a study, with more room for size; StudyError where the document exceeds them or is
    damaged. A store may come from elsewhere.
    """
    if len(content) > MAX_STORED_BYTES:
        raise StudyError(f"{place}: larger than {MAX_STORED_BYTES:,} bytes, which no store needs")
    try:
        text = str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise StudyError(f"{place}: byte {error.start + 1} is not UTF-8 text") from None
    return parse_json(text, place) if place.endswith(".json") else _parse(text, place, _LimitedLoader)


def parse_json(text: str, place: str) -> Any:
    """Return the plain data in JSON text of a store; StudyError where it is damaged, too large or too deep."""
    if len(text) > MAX_STORED_BYTES:
        raise StudyError(f"{place}: larger than {MAX_STORED_BYTES:,} characters, which no store needs")
    try:
        found = json.loads(text)
    except RecursionError:
        raise StudyError(f"{place}: more than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise StudyError(f"{place}: not valid JSON: {error}") from None
    # As many opening brackets as levels, at least: counting them is much quicker than going through the levels.
    if text.count("{") + text.count("[") > MAX_DEPTH and _depth_exceeds(found, MAX_DEPTH):
        raise StudyError(f"{place}: more than {MAX_DEPTH} levels")
    return found


def _depth_exceeds(tree: Any, limit: int) -> bool:
    level = [tree]
    for _ in range(limit):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return any(isinstance(value, dict | list) for value in level)


def _parse(text: str, place: str, kind: type[_LimitedLoader]) -> Any:
    try:
        return _unshared(_load(text, kind))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = ", ".join(filter(None, (error.context, error.problem)))
        hint = "; indent with spaces, not tabs" if r"'\t'" in problem else ""
        raise StudyError(f"{place}{where}: not valid YAML: {problem}{hint}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise StudyError(f"{place}, line {line}: not valid YAML: holds a character that is not text") from None
    except ValueError as error:  # of a constructor of YAML 1.1, such as a date with a month of 13
        raise StudyError(f"{place}: not valid YAML: {error}") from None


def parse_value(text: str, place: str) -> Any:
    """Return the value that ``text`` would have in a study file: ``20``, ``1e-4``, ``[1, 2]``, ``null``, ``group``."""
    return parse_yaml(text, place)


def read_text(path: Any) -> str:
    """Return the text of a file of at most MAX_BYTES; StudyError if it cannot be read."""
    try:
        with open_regular(path, follow=True) as file:
            return str(file.read(MAX_BYTES + 1), "utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start + 1} is not UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from None


def mapping_in(tree: Any, place: str, keys: str) -> dict[str, Any]:
    """Return ``tree`` if it is a mapping; otherwise raise a StudyError that lists the expected keys."""
    if not isinstance(tree, dict):
        what = "is empty" if tree is None else f"is {shown(tree)}"
        raise StudyError(f"{place}: {what}, but must be a mapping with {keys}")
    return tree


def _load(text: str, kind: type[_LimitedLoader]) -> Any:
    loader = kind(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _unshared(value: Any) -> Any:
    """Return a deep copy, so that a change of one alias does not change the others."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value
