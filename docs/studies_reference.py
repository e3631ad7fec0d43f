"""Write the tables of studies.md from the records that read a study: ``python docs/studies_reference.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from search_spaces.budget import Budget, Price
from search_spaces.config.base import Part
from search_spaces.config.trial import TrialConfig
from search_spaces.published import SOURCES, Claim, Figure, Reference
from search_spaces.study import StudySpec
from search_spaces.study_parts import Asha, Design, ProbeConfig, Resources, Search, Sequential
from search_spaces.study_schema import json_schema
from search_spaces.tune import Tune

PAGE = Path(__file__).with_name("studies.md")
START, END = "<!-- tables: written by studies_reference.py -->\n", "<!-- end of tables -->\n"
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def tables() -> str:
    """Return the reference tables in Markdown: one for each section of a study, then the list of sources."""
    sections: dict[str, type[Part]] = {
        "Study": StudySpec,
        "design": Design,
        "sequential": Sequential,
        "search": Search,
        "search.asha": Asha,
        "tune": Tune,
        "resources": Resources,
        "probes": ProbeConfig,
        "budget": Budget,
        "budget.price": Price,
        "reference": Reference,
        "reference.figures[]": Figure,
        "reference.claims[]": Claim,
        "baseline": TrialConfig,
    }
    parts = {f"baseline.{name}": type(value) for name, value in TrialConfig() if isinstance(value, Part)}
    return "\n".join([*(_table(name, part) for name, part in (sections | parts).items()), _sources()])


def _sources() -> str:
    rows = [f"| {letter} | {citation} |" for letter, citation in SOURCES.items()]
    return "\n".join(["### Sources (`reference.source`)", "", "| letter | document |", "|---|---|", *rows, ""])


def _table(title: str, part: type[Part]) -> str:
    schema = json_schema()
    properties = schema["properties"] if part is StudySpec else schema["$defs"][part.__name__]["properties"]
    prefix = title.removeprefix("baseline.") + "." if title.startswith("baseline.") else ""
    rows = [_row(part, prefix, name, field) for name, field in properties.items()]
    heading = "### The study's own keys" if part is StudySpec else f"### `{title}`"
    return "\n".join([heading, "", "| key | values | default | meaning |", "|---|---|---|---|", *rows, ""])


def _row(part: type[Part], prefix: str, name: str, field: dict[str, Any]) -> str:
    text = part.model_fields[name].description or ""
    if name in part.has_effect:
        selector, values = part.has_effect[name]
        text += f" (only with `{selector}` {', '.join(sorted(values))})"
    cells = (f"`{prefix}{name}`", _values(field), _default(field, part, name), text.replace("|", "\\|"))
    return f"| {' | '.join(cells)} |"


def _values(field: dict[str, Any]) -> str:
    if "anyOf" in field and field.get("title") not in ("Factors", "Space"):
        return " or ".join(dict.fromkeys(_values(option) for option in field["anyOf"]))
    if "enum" in field or "const" in field:
        return ", ".join(str(value) for value in field.get("enum", [field.get("const")]) if value != "")
    if field.get("type") == "array":
        return f"list of {_values(field['items'])}"
    if "$ref" in field or field.get("type") == "object" or "anyOf" in field:
        return "mapping"
    bounds = [f"{sign} {field[key]:g}" for key, sign in _BOUNDS.items() if key in field and abs(field[key]) < 1e6]
    return ", ".join([{"integer": "whole number", "string": "text"}.get(field["type"], field["type"]), *bounds])


def _default(field: dict[str, Any], part: type[Part], name: str) -> str:
    if part.model_fields[name].is_required():
        return "(required)"
    return f"`{json.dumps(field['default'])}`" if "default" in field and field["default"] != "" else ""


def main() -> None:
    """Put the tables into the page."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    PAGE.write_text(before + START + tables() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
