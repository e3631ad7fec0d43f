"""What others report: figures to stand beside ours, and claims to be put to the test."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Self

from pydantic import Field, model_validator

from search_spaces.config.base import Part, must
from search_spaces.metrics import ROUGHNESS

__all__ = ["ROUGHNESS", "Claim", "Figure", "Reference"]


class Figure(Part):
    """One reported number."""

    arm: str = Field(description="arm of this study that it belongs to")
    metric: str = Field("test_accuracy", description="column of the trials table")
    value: float = Field(description="the number reported, in the metric's own unit: 0.8957, not 89.57")
    note: str = Field("", description="what to know about it, such as a different setting")


class Claim(Part):
    """One statement that this study can support or contradict."""

    text: str = Field(description="the claim in words, as its source makes it")
    arm: str = Field(description="arm that the claim is about")
    against: str = Field(description="arm that it is compared with")
    expect: Literal["better", "worse", "equivalent"] = Field(description="how the arm should compare in the metric")
    metric: str = Field(
        "", description="column of the trials table, or roughness of the loss landscape; the study's metric if empty"
    )

    @model_validator(mode="after")
    def _two_arms(self) -> Self:
        if self.arm == self.against:
            raise must("against", self.against, "another arm than `arm`")
        return self


class Reference(Part):
    """Where a study comes from, with what was reported there. It names arms of the study's plan and no others."""

    source: Literal["A", "B", "C", "D", "E"] = Field(description="letter of the source")
    table: str = Field("", description="table or section in it")
    note: str = Field("", description="how our setting differs")
    figures: tuple[Figure, ...] = Field((), strict=False, description="numbers reported")
    claims: tuple[Claim, ...] = Field((), strict=False, description="statements to test")

    def named_arms(self) -> list[tuple[str, str]]:
        """Return each arm that is named, with its place in the study."""
        figures = [(f"reference.figures[{i}].arm", figure.arm) for i, figure in enumerate(self.figures)]
        claims = [
            (f"reference.claims[{i}].{role}", arm)
            for i, claim in enumerate(self.claims)
            for role, arm in (("arm", claim.arm), ("against", claim.against))
        ]
        return figures + claims

    def about(self, arms: Collection[str]) -> Reference:
        """Return the same with only what is about ``arms``."""
        return self.model_copy(
            update={
                "figures": tuple(figure for figure in self.figures if figure.arm in arms),
                "claims": tuple(claim for claim in self.claims if {claim.arm, claim.against} <= set(arms)),
            }
        )
