"""A study: what a person writes in one YAML file, checked and planned into cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from search_spaces.config.base import MAX_SEED, Part, must
from search_spaces.config.trial import TrialConfig
from search_spaces.domains import Domain
from search_spaces.errors import StudyError
from search_spaces.factors import Factor, expand_names, read_factors
from search_spaces.published import Reference, must_be_metric
from search_spaces.space import SearchSpace

MAX_GPUS = 1024
MAX_SEEDS = 10_000
DesignKind = Literal["one_factor_at_a_time", "leave_one_out", "full_factorial", "fractional_factorial"]


class Design(Part):
    """How arms follow from factors."""

    has_effect: ClassVar = {"generator": ("kind", frozenset({"fractional_factorial"}))}

    kind: DesignKind = Field("one_factor_at_a_time", description="name of the design")
    generator: str | int = Field(
        3, description="of a fractional factorial: a pydoe generator ('a b c abc') or a resolution (3, 4 or 5)"
    )

    @field_validator("generator", mode="before")
    @classmethod
    def _generator(cls, generator: Any) -> Any:
        if not isinstance(generator, str) and generator not in (3, 4, 5):
            raise must("", generator, "words of letters ('a b c abc') or a resolution (3, 4 or 5)")
        return generator


class Resources(Part):
    """What each trial is given. A GPU share is a scheduling share that also caps the trial's memory."""

    cpu: float = Field(1.0, gt=0, description="CPUs, which are also the trial's threads")
    gpu: float | str = Field(
        "auto",
        description="share of a GPU (0.25: four trials on each); auto: a quarter, or none without GPUs",
    )

    @field_validator("gpu", mode="before")
    @classmethod
    def _share(cls, gpu: Any) -> Any:
        is_number = isinstance(gpu, int | float) and not isinstance(gpu, bool)
        if gpu != "auto" and not (is_number and (0 <= gpu <= 1 or (1 < gpu <= MAX_GPUS and gpu == int(gpu)))):
            raise must("", gpu, "a share from 0 to 1, a whole number of GPUs, or auto")
        return gpu


class Asha(Part):
    """Asynchronous successive halving (Li et al. 2020): which trials a search stops early."""

    grace_period: int = Field(1, ge=1, description="epochs that every trial gets")
    reduction_factor: int = Field(3, ge=2, description="one in so many goes on at each rung")
    brackets: int = Field(1, ge=1, description="brackets, each with a longer grace period than the one before")


class Search(Part):
    """How a search proposes trials and stops them."""

    searcher: Literal["random", "grid", "tpe"] = Field("tpe", description="who proposes: tpe is Optuna's")
    trials: int = Field(32, ge=1, description="trials to propose; a grid has its own number and stops there")
    asha: Asha | None = Field(default_factory=Asha, description="early stopping; every trial in full if null")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of the searcher")


class ProbeConfig(Part):
    """What is measured beside the metrics, each epoch. Changes no result."""

    quantiles: bool = Field(True, description="1, 20, 80, 99 % quantiles of the features before the classifier")
    norm_inputs: bool = Field(False, description="the same quantiles of every norm layer's input")
    norms: bool = Field(True, description="gradient norm, weight norm, share of dead features")


class StudySpec(Part):
    """One study, as written. `plan` turns it into arms and cells."""

    name: str = Field(description="name of the study and of its folder of results")
    question: str = Field("", description="what the study asks, one sentence, for the head of its report")
    mode: Literal["ablation", "search"] = Field("ablation", description="every cell in full, or a search")
    baseline: TrialConfig = Field(default_factory=TrialConfig, description="the trial config that all else is held to")
    factors: dict[str, Any] | None = Field(
        None, description="ablation: path -> list of values, or name -> named levels, or names from the catalog"
    )
    design: Design = Field(default_factory=Design, description="how arms follow from factors")
    space: dict[str, Domain] | None = Field(
        None,
        description="search: path -> list, {int: [low, high]}, {uniform: ..}, {loguniform: ..}; or catalog names",
    )
    search: Search = Field(default_factory=Search, description="how to search")
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), strict=False, description="seeds, the same for all arms; n: 0..n-1")
    metric: str = Field("test_accuracy", description="column of the trials table that the verdicts are about")
    rope: float = Field(
        0.005, ge=0, description="region of practical equivalence: a difference in the metric too small to matter"
    )
    resources: Resources = Field(default_factory=Resources, description="what each trial is given")
    probes: ProbeConfig = Field(default_factory=ProbeConfig, description="what else is measured each epoch")
    checkpoint_seconds: float = Field(5.0, ge=0, description="least seconds between checkpoints; 0: after each epoch")
    keep: tuple[Literal["best", "last"], ...] = Field(
        ("best",), strict=False, description="checkpoints kept when a trial is complete"
    )
    max_failures: int = Field(1, ge=0, description="further attempts for a trial that raises an error")
    max_failed_trials: int | None = Field(None, ge=1, description="failed trials that stop the study; no limit if null")
    fail_fast: bool = Field(False, description="stop the study at its first failed trial")
    sizes: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="named sets of overrides, path -> value, chosen by --size"
    )
    reference: Reference | None = Field(None, description="reported figures and claims to put beside ours")

    @field_validator("design", mode="before")
    @classmethod
    def _design_by_name(cls, design: Any) -> Any:
        return {"kind": design} if isinstance(design, str) else design

    @field_validator("factors", mode="before")
    @classmethod
    def _factors_by_names(cls, factors: Any) -> Any:
        if isinstance(factors, list | tuple):
            return {path: list(domain.grid()) for path, domain in expand_names(factors, "factors").items()}
        return _mapping_or_names(factors)

    @field_validator("space", mode="before")
    @classmethod
    def _space_by_names(cls, space: Any) -> Any:
        return expand_names(space, "space") if isinstance(space, list | tuple) else _mapping_or_names(space)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
            raise must("", name, "1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit")
        return name

    @field_validator("seeds", mode="before")
    @classmethod
    def _seed_list(cls, seeds: Any) -> Any:
        if isinstance(seeds, list | tuple):
            return seeds
        if not isinstance(seeds, int) or isinstance(seeds, bool) or not 1 <= seeds <= MAX_SEEDS:
            raise must("", seeds, f"a number of seeds from 1 to {MAX_SEEDS:,}, or a list of seeds")
        return tuple(range(seeds))

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        repeated = sorted(seed for seed, times in Counter(seeds).items() if times > 1)
        if repeated:
            raise must("", list(seeds), f"a list of different seeds (repeated: {', '.join(map(str, repeated))})")
        if not 1 <= len(seeds) <= MAX_SEEDS or min(seeds) < 0 or max(seeds) > MAX_SEED:
            raise must("", list(seeds), f"1 to {MAX_SEEDS:,} seeds, each from 0 to {MAX_SEED:,}")
        return seeds

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str) -> str:
        return must_be_metric(metric)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        needed, other = ("factors", "space") if self.mode == "ablation" else ("space", "factors")
        if getattr(self, other) is not None:
            remedy = " (or say `mode: search`)" if other == "space" else ""
            raise must(other, list(getattr(self, other)), f"left out in a study of mode {self.mode}{remedy}")
        if not getattr(self, needed):
            raise must(needed, getattr(self, needed), f"given and not empty in a study of mode {self.mode}")
        if self.baseline.seed:
            raise must("baseline.seed", self.baseline.seed, "left out: list seeds under `seeds`")
        asha = self.search.asha
        if self.mode == "search" and asha and asha.grace_period > self.baseline.epochs:
            raise must("search.asha.grace_period", asha.grace_period, f"at most the {self.baseline.epochs} epochs")
        return self

    def read_factors(self) -> tuple[Factor, ...]:
        """Return the factors with their levels, the baseline's own first; StudyError where one is refused."""
        return read_factors(self.factors, self.baseline)

    def search_space(self) -> SearchSpace:
        """Return the space of a search, tried on the baseline; StudyError where it is refused."""
        if self.space is None:
            raise StudyError("`space` is missing: a study of mode search names the fields to search over")
        return SearchSpace(self.space, self.baseline)


def _mapping_or_names(value: Any) -> Any:
    if value is not None and not isinstance(value, Mapping):
        raise must("", value, "a mapping from fields to values, or a list of names from the catalog")
    return value
