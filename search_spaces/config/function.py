"""The config of a user's own training function: its arguments, epochs and seed."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from search_spaces.config.arguments import checked_arguments
from search_spaces.config.base import Config


class FunctionConfig(Config):
    """Everything that determines one run of a user's training function."""

    ARGUMENTS: ClassVar = {"run": "args"}

    run: str = Field("", description="the training function, package.module:function", exclude=False)
    args: dict[str, Any] = Field(default_factory=dict, description="arguments of the training function")
    epochs: int = Field(1, ge=1, le=1_000_000, description="epochs that the training function is asked for")

    @classmethod
    def fields(cls) -> dict[str, str]:
        """Return the paths that are the same for every function: the function itself is the study's ``task.run``."""
        return {path: text for path, text in super().fields().items() if path != "run"}

    @field_validator("args")
    @classmethod
    def _checked(cls, args: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        reference = info.data.get("run", "")
        return checked_arguments("", args, cls.schemas.get(reference), reference)
