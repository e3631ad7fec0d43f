"""What others report: figures to stand beside ours, and claims to be put to the test."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from search_spaces._part import Part


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
    metric: str = Field("", description="column of the trials table; the study's metric if empty")


class Reference(Part):
    """Where a study comes from, with what was reported there."""

    source: Literal["A", "B", "C", "D", "E"] = Field(description="letter of the source")
    table: str = Field("", description="table or section in it")
    note: str = Field("", description="how our setting differs")
    figures: tuple[Figure, ...] = Field((), strict=False, description="numbers reported")
    claims: tuple[Claim, ...] = Field((), strict=False, description="statements to test")
