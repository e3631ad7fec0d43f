"""The outcome of a check: a claim, what was measured, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """One claim, what was measured, and the verdict."""

    name: str
    numbers: Mapping[str, float]
    tolerance: float
    """The largest size of the first number for which the check passes."""
    passed: bool | None
    """None where the claim does not apply to this matrix."""
    words: str

    @property
    def verdict(self) -> str:
        """Return ``passed``, ``failed`` or ``not applicable``."""
        return "not applicable" if self.passed is None else "passed" if self.passed else "failed"
