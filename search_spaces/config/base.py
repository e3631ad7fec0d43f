"""The base of every configuration record: frozen, unknown keys refused, idle fields known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

MAX_SEED = 2**32 - 1


class Part(BaseModel):
    """A frozen record that refuses unknown keys and values of the wrong type.

    ``has_effect`` names the fields that matter only for some values of another field of the same part:
    ``{"shortcut": ("family", {"resnet"})}``. Where a field has no effect it does not enter the digest, so two
    arms that differ in it alone are found to be one and the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)

    has_effect: ClassVar[Mapping[str, tuple[str, frozenset[str]]]] = {}

    def is_idle(self, field: str) -> bool:
        """Return whether ``field`` cannot change what this part computes."""
        if field not in self.has_effect:
            return False
        selector, values = self.has_effect[field]
        return getattr(self, selector) not in values

    def canonical(self) -> dict[str, Any]:
        """Return the fields that have an effect, as JSON-ready values."""
        fields = {k: v for k, v in self.model_dump(mode="json").items() if not self.is_idle(k)}
        return {k: v + 0.0 if isinstance(v, float) else v for k, v in fields.items()}  # -0.0 is 0.0


def must(field: str, value: object, rule: str) -> PydanticCustomError:
    """Return the error "`field` is value, but must be rule" for a rule that spans fields."""
    return PydanticCustomError("must", "must be {must}", {"field": field, "value": value, "must": rule})
