"""Published results: reference figures to show next to measured ones, claims to test, and where they come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from search_spaces.config.base import Part, must

__all__ = ["SOURCES", "Claim", "Figure", "Reference"]

SOURCES: Mapping[str, str] = {
    "A": '"Deep Learning: ResNet and Data Augmentation", homework report; answers the problems of ESE 546, Homework 2 '
    "(source D): ResNet details, weight decay, augmentation and matrix factorization",
    "B": 'COL775 Deep Learning, Assignment 1.1: "ResNet over Convolutional Networks and different Normalization '
    'schemes"',
    "C": 'DSCI 565, Lecture 10 (2025): "Modern Convolutional Neural Networks"',
    "D": "ESE 546, Homework 2",
    "E": 'E0-270 Machine Learning, Assignment 2 (2025): "Image Classification and Visualization"',
}
"""Letter of a source, as in ``reference.source`` -> citation of the document (all are course work)."""


class Figure(Part):
    """One reported number."""

    arm: str = Field(description="arm of this study that it belongs to")
    metric: str = Field("test_accuracy", description="column of the trials table")
    value: float = Field(description="the number reported, in the metric's own unit: 0.8957, not 89.57")
    note: str = Field("", description="what to know about it, such as a different setting")


class Claim(Part):
    """One statement that this study can support or contradict."""

    text: str = Field(description="the claim in words, as its source makes it")
    arm: str = Field("", description="arm that the claim is about")
    against: str = Field("", description="arm that it is compared with")
    order: tuple[str, ...] = Field(
        (), strict=False, description="in place of `arm` and `against`: three arms or more, the best first"
    )
    expect: Literal["better", "worse", "equivalent", "order"] = Field(
        description="how the arm should compare in the metric; order: the arms rank as in `order`"
    )
    metric: str = Field(
        "", description="column of the trials table, or a measure computed from the store; the study's metric if empty"
    )
    rope: float | None = Field(
        None,
        gt=0,
        description="region of practical equivalence, in the metric's unit; the study's if empty",
    )

    @property
    def compared(self) -> tuple[str, ...]:
        """The arms that the claim compares."""
        return self.order or (self.arm, self.against)

    @property
    def places(self) -> tuple[str, ...]:
        """The field of each of them, such as ``order[2]``."""
        return tuple(f"order[{place}]" for place in range(len(self.order))) or ("arm", "against")

    @model_validator(mode="after")
    def _its_arms(self) -> Self:
        if (self.expect == "order") != bool(self.order):
            raise must("order", list(self.order), "given where `expect` is order, and only there")
        if self.order and (self.arm or self.against or len(set(self.order)) < max(len(self.order), 3)):
            raise must("order", list(self.order), "three different arms or more, with no `arm` and no `against`")
        if not self.order and (not self.arm or not self.against):
            raise must("arm", self.arm, "given, as `against` must be, unless the claim is about an order")
        if not self.order and self.arm == self.against:
            raise must("against", self.against, "another arm than `arm`")
        return self


class Reference(Part):
    """The document that a study reproduces, and the results it reports. It names only arms of the study's plan."""

    source: Literal["A", "B", "C", "D", "E"] = Field(description="letter of the source; see the list of sources")
    table: str = Field("", description="table or section in it")
    note: str = Field("", description="how the setting of this study differs")
    figures: tuple[Figure, ...] = Field((), strict=False, description="numbers reported")
    claims: tuple[Claim, ...] = Field((), strict=False, description="statements to test")

    def named_arms(self) -> list[tuple[str, str]]:
        """Return each arm that is named, with its place in the study."""
        figures = [(f"reference.figures[{i}].arm", figure.arm) for i, figure in enumerate(self.figures)]
        claims = [
            (f"reference.claims[{i}].{role}", arm)
            for i, claim in enumerate(self.claims)
            for role, arm in zip(claim.places, claim.compared, strict=True)
        ]
        return figures + claims

    def about(self, arms: Collection[str]) -> Reference:
        """Return the same with only what is about ``arms``."""
        return self.model_copy(
            update={
                "figures": tuple(figure for figure in self.figures if figure.arm in arms),
                "claims": tuple(claim for claim in self.claims if set(claim.compared) <= set(arms)),
            }
        )
