"""The base of every configuration record: frozen, unknown keys refused, inactive fields known, a digest for a whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from search_spaces.errors import StudyError, shown

MAX_SEED = 2**32 - 1


class Part(BaseModel):
    """A frozen record that refuses unknown keys and values of the wrong type.

    ``has_effect`` names the fields that matter only for some values of another field of the same part:
    ``{"shortcut": ("family", {"resnet"})}``. Where a field has no effect it does not enter the digest, so two
    arms that differ in it alone are found to be one and the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)

    has_effect: ClassVar[Mapping[str, tuple[str, frozenset[str]]]] = {}

    def is_inactive(self, field: str) -> bool:
        """Return whether ``field`` cannot change what this part computes."""
        if field not in self.has_effect:
            return False
        selector, values = self.has_effect[field]
        return getattr(self, selector) not in values

    def canonical(self) -> dict[str, Any]:
        """Return the fields that have an effect, as JSON-ready values."""
        fields = {k: v for k, v in self.model_dump(mode="json").items() if not self.is_inactive(k)}
        return {k: v + 0.0 if isinstance(v, float) else v for k, v in fields.items()}  # -0.0 is 0.0


class Config(Part):
    """What determines one training run of a task: the base of each task's config.

    ``training_version``, ``choose_by`` and ``code`` are set when a study is read, never by a study's author. They enter
    the digest only where they differ from what the first release did, so digests of stored cells stay what they were.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("training_version", "choose_by", "code")
    DEFAULT_CHOOSE_BY: ClassVar[str | None] = None
    ARGUMENTS: ClassVar[Mapping[str, str]] = {}
    """Path of a reference to user code -> path of the arguments it is called with."""
    schemas: ClassVar[Mapping[str, Any]] = {}
    """Reference to user code -> JSON Schema of its arguments, where it has been read."""

    epochs: int = Field(10, ge=1, le=100_000, description="epochs")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of every random draw")
    training_version: int = Field(1, ge=1, description="version of what the built-in training computes")
    choose_by: str | None = Field(None, description="metric by which the best epoch is chosen")
    code: str | None = Field(None, description="fingerprint of the user's code")

    @classmethod
    def fields(cls) -> dict[str, str]:
        """Return every dotted path that holds a value a study may set, with its description."""
        paths: dict[str, str] = {}
        for name, field in cls.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
                inner = field.annotation.model_fields
                paths |= {f"{name}.{k}": v.description or "" for k, v in inner.items() if k != "args"}
            elif name != "args" and name not in cls.DERIVED and not field.exclude:
                paths[name] = field.description or ""
        return paths

    def paths(self) -> dict[str, str]:
        """Return `fields`, with the arguments of the user code that this config names."""
        found = type(self).fields()
        for reference, place in self.ARGUMENTS.items():
            schema = self.schemas.get(str(self.get(reference)), {})
            known = schema.get("properties", {})
            for name in {**known, **self.get(place)}:
                found[f"{place}.{name}"] = str(known.get(name, {}).get("description", "argument of the user's code"))
        return found

    def references(self) -> list[str]:
        """Return the references to user code that this config names."""
        return [value for path in self.ARGUMENTS if is_reference(value := self.get(path))]

    def canonical(self) -> dict[str, Any]:
        """Return what determines the result: inactive fields left out."""
        canonical: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            canonical[name] = value.canonical() if isinstance(value, Part) else value
        if self.training_version == 1:
            del canonical["training_version"]
        if self.choose_by in (None, self.DEFAULT_CHOOSE_BY):
            del canonical["choose_by"]
        if not self.references() or self.code is None:
            del canonical["code"]
        return canonical

    def digest(self) -> str:
        """Return the 16 hexadecimal digits that identify this trial config."""
        return digest_of(self.canonical())

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a checked copy with dotted paths replaced: ``{"model.norm": "group"}``.

        Where another reference to code is set, its arguments start from their defaults. Raises pydantic's
        ValidationError, located at the path, where a path or a value is refused.
        """
        tree = self.model_dump(mode="json")
        for reference, place in self.ARGUMENTS.items():
            if values.get(reference, self.get(reference)) != self.get(reference):
                set_path(tree, place, {})
        for path, value in values.items():
            set_path(tree, path, value)
        return type(self).model_validate(tree)

    def get(self, path: str) -> Any:
        """Return the value at a dotted path; KeyError where there is none."""
        value: Any = self
        for key in path.split("."):
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, Part) and key in type(value).model_fields:
                value = getattr(value, key)
            else:
                raise KeyError(path)
        return value


def digest_of(canonical: Mapping[str, Any]) -> str:
    """Return the digest of a config by its canonical form.

    SHA-256 over canonical JSON (sorted keys), cut to 64 bits: stable across processes, machines and key order.
    """
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_reference(value: object) -> bool:
    """Return whether a value refers to code or a library outside this project: "my_pkg.nets:TinyViT"."""
    return isinstance(value, str) and ":" in value


def set_path(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set ``tree['a']['b']`` for the path ``a.b``, making the mappings on the way; StudyError where it cannot be."""
    *parents, last = path.split(".")
    if not all((*parents, last)):
        raise StudyError(f"`{path}` is not a path: words joined by single dots, such as model.norm")
    for key in parents:
        inner = tree.get(key)
        if inner is not None and not isinstance(inner, dict):
            raise StudyError(f"`{path}` cannot be set: `{key}` is {shown(inner)}, not a mapping with keys of its own")
        if inner is None:
            tree[key] = {}
        tree = tree[key]
    tree[last] = value


def must(field: str, value: object, rule: str) -> PydanticCustomError:
    """Return the error "`field` is value, but must be rule" for a rule that spans fields."""
    return PydanticCustomError("must", "must be {must}", {"field": field, "value": value, "must": rule})


def refused(field: str, value: object, sentence: str) -> PydanticCustomError:
    """Return the error "`field` sentence"."""
    return PydanticCustomError("refused", "{sentence}", {"field": field, "value": value, "sentence": sentence})
