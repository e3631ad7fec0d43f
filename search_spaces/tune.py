"""The `tune` section of a study: a search inside each arm, with the same budget and the same points in every arm.

An ablation at one learning rate compares arms at that rate. A fair comparison tunes each arm with the same effort (Choi
et al. 2019, "On Empirical Comparisons of Optimizers for Deep Learning"; Sivaprasad et al. 2020, "Optimizer Benchmarking
Needs to Account for Hyperparameter Tuning"; Dahl et al. 2023, "Benchmarking Neural Network Training Algorithms") and
states that effort (Dodge et al. 2019, "Show Your Work").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from search_spaces.config.base import MAX_SEED, Part, must, refused
from search_spaces.domains import Domain

MAX_TRIALS, MAX_REPEATS, MAX_FIELDS = 1024, 1000, 16
FIRST_FINAL_SEED = MAX_REPEATS
"""Repeat r trains its trials with seed r and the chosen one again with this seed plus r: fresh in every repeat."""


class Tune(Part):
    """How each arm of an ablation is tuned before arms are compared. One repeat is one replicate."""

    space: dict[str, Domain] = Field(description="fields that every arm tunes: path -> domain, as in `space`")
    trials: int = Field(
        8,
        ge=2,
        le=MAX_TRIALS,
        description="trials of each arm and repeat; the first has the arm's own values. Failed and diverged ones count",
    )
    repeats: int = Field(
        5, ge=1, le=MAX_REPEATS, description="searches of each arm; each repeat gives one paired difference"
    )
    searcher: Literal["random"] = Field("random", description="who proposes: scrambled Sobol points, equal in all arms")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of the points")
    extra: dict[str, dict[str, Domain]] = Field(
        default_factory=dict, description="arm -> fields that this arm alone tunes in addition: path -> domain"
    )

    @field_validator("searcher", mode="before")
    @classmethod
    def _random(cls, searcher: Any) -> Any:
        if searcher in ("tpe", "grid"):
            raise refused(
                "",
                searcher,
                f"is {searcher!r}, but must be random: then every arm tries the same points, so that arms are compared "
                "at the same settings",
            )
        return searcher

    @model_validator(mode="before")
    @classmethod
    def _no_early_stopping(cls, tree: Any) -> Any:
        if isinstance(tree, Mapping) and tree.get("asha") is not None:
            raise must("asha", tree["asha"], "left out: every trial of a tuned ablation is trained in full")
        return tree

    @model_validator(mode="after")
    def _few_fields(self) -> Self:
        if not self.space:
            raise must("space", {}, "a mapping with at least one field to tune")
        for arm, own in self.extra.items():
            if twice := sorted(set(own) & set(self.space)):
                raise must(f"extra.{arm}", twice, "fields that `space` does not have")
        if len(self.space) + max(map(len, self.extra.values()), default=0) > MAX_FIELDS:
            raise must("space", f"{len(self.space)} fields", f"at most {MAX_FIELDS} fields, those of `extra` included")
        return self

    def domains(self, arm: str) -> dict[str, Domain]:
        """Return the domains that an arm tunes, those of all arms first."""
        return self.space | self.extra.get(arm, {})

    def all_fields(self) -> list[str]:
        """Return the path of every field that some arm tunes."""
        return list(dict.fromkeys([*self.space, *(path for own in self.extra.values() for path in own)]))

    def points(self, arm: str, repeat: int) -> list[dict[str, Any]]:
        """Return the values of an arm's trials 1, 2, ... in a repeat; trial 0 has the arm's own values.

        They are points of a scrambled Sobol sequence (Owen 1998) mapped through the domains. All arms of a repeat have
        the same point for the fields of `space`. The sequence has `MAX_FIELDS` dimensions whatever the study uses, so
        that more trials, repeats or extra fields leave the points that there are as they were.
        """
        domains = self.domains(arm)
        unit = _sobol(self.seed, repeat, self.trials - 1)
        return [{path: domain.at(u) for (path, domain), u in zip(domains.items(), row, strict=False)} for row in unit]


def _sobol(seed: int, repeat: int, count: int) -> np.ndarray:
    """Return the first points of the repeat's sequence, shape (count, MAX_FIELDS), each in [0, 1)."""
    from scipy.stats import qmc  # takes half a second to import

    sequence = qmc.Sobol(MAX_FIELDS, scramble=True, rng=np.random.default_rng([seed, repeat]))
    points: np.ndarray = sequence.random_base2(max(count - 1, 0).bit_length())[:count]
    return points


def with_repeats_as_seeds(tree: Any) -> Any:
    """Return a study's data with `seeds` set to the number of repeats, where it has a `tune` section.

    Raises the error of a refused value where `seeds` is given, too, and differs.
    """
    tune = tree.get("tune") if isinstance(tree, Mapping) else None
    if isinstance(tune, Tune):
        repeats: Any = tune.repeats
    elif isinstance(tune, Mapping):
        repeats = tune.get("repeats", Tune.model_fields["repeats"].default)
    else:
        return tree
    if not isinstance(repeats, int) or isinstance(repeats, bool) or not 1 <= repeats <= MAX_REPEATS:
        return tree  # refused at its own place
    seeds = tree.get("seeds", repeats)
    if seeds != repeats and list(seeds if isinstance(seeds, list | tuple) else ()) != list(range(repeats)):
        raise must("seeds", seeds, f"left out: `tune.repeats` ({repeats}) takes its place")
    return {**tree, "seeds": tuple(range(repeats))}
