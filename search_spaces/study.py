"""A study: what a person writes in one YAML file, checked and planned into cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator
from pydantic_core import PydanticKnownError

from search_spaces.budget import Budget
from search_spaces.code import Code
from search_spaces.config.base import MAX_SEED, Config, Part, must, refused
from search_spaces.config.function import FunctionConfig
from search_spaces.config.trial import TrialConfig
from search_spaces.domains import Domain
from search_spaces.errors import StudyError
from search_spaces.factors import Factor, expand_names, read_factors
from search_spaces.metrics import Metric, metric_named, split_of, unknown_metric, validation_counterpart
from search_spaces.published import Reference
from search_spaces.space import SearchSpace
from search_spaces.study_checks import RESERVED, check_looks, check_published, known_metrics, with_direction
from search_spaces.study_parts import Design, MetricSpec, ProbeConfig, Resources, Search, Sequential, TaskSpec
from search_spaces.tune import Tune, with_repeats_as_seeds

MAX_SEEDS = 10_000
MAX_SIZES = 20
MAX_TIMEOUT = 10_000_000


def config_type(task: TaskSpec | None, code: Code | None) -> type[Config]:
    """Return the type of a study's trial configs, which knows the parameters of the user's code."""
    base = TrialConfig if task is None else FunctionConfig
    schemas = code.schemas if code is not None else {}
    return type(base.__name__, (base,), {"schemas": schemas, "__module__": base.__module__}) if schemas else base


class StudySpec(Part):
    """One study, as written. `plan` turns it into arms and cells."""

    name: str = Field(description="name of the study and of its folder of results")
    question: str = Field("", description="what the study asks, one sentence, for the head of its report")
    mode: Literal["ablation", "search"] = Field("ablation", description="every cell in full, or a search")
    task: TaskSpec | None = Field(
        None, description="a training function of your own: {run: my_pkg.train:train}; image classification if left out"
    )
    code: Code | None = Field(None, description="where your own code is; the folder of the study file if left out")
    metrics: dict[str, MetricSpec] = Field(
        default_factory=dict, description="metrics that your own training function reports, with their direction"
    )
    metric: str = Field(
        "test_accuracy", validate_default=True, description="column of the trials table that the verdicts are about"
    )
    choose_by: str | None = Field(
        None,
        validate_default=True,
        description="validation metric by which epoch, rung and winner are chosen; the counterpart of `metric` if null",
    )
    training_version: int | None = Field(
        None, ge=1, description="version of the built-in training that a stored study was run with; set by the program"
    )
    baseline: Config = Field(
        default_factory=dict, validate_default=True, description="the trial config that every arm starts from"
    )
    factors: dict[str, Any] | None = Field(
        None, description="ablation: path -> list of values, or name -> named levels, or names from the catalog"
    )
    design: Design = Field(default_factory=Design, description="how arms follow from factors")
    space: dict[str, Domain] | None = Field(
        None,
        description="search: path -> list, {int: [low, high]}, {uniform: ..}, {loguniform: ..}; or catalog names",
    )
    search: Search = Field(default_factory=Search, description="how to search")
    tune: Tune | None = Field(None, description="ablation: a search inside each arm before arms are compared")
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), strict=False, description="seeds, the same for all arms; n: 0..n-1")
    sequential: Sequential | None = Field(
        None,
        description="seeds are added by rule until an arm is decided; true: with its defaults; null: all at once",
    )
    rope: float = Field(
        0.005,
        ge=0,
        description="region of practical equivalence: a difference in the metric too small to matter, 0 for none; "
        "if left out, 0.005 for a metric from 0 to 1, and none for others",
    )
    resources: Resources = Field(default_factory=Resources, description="what each trial is given")
    probes: ProbeConfig = Field(default_factory=ProbeConfig, description="what else is measured each epoch")
    checkpoint_seconds: float = Field(5.0, ge=0, description="least seconds between checkpoints; 0: after each epoch")
    keep: tuple[Literal["best", "last"], ...] = Field(
        ("best",), strict=False, description="checkpoints kept when a trial is complete"
    )
    max_failures: int = Field(1, ge=0, description="further attempts for a trial that raises an error")
    trial_timeout: float | str | None = Field(
        "auto",
        description="seconds without a report after which the process of a trial is ended and the trial resumed; "
        "auto: 20 times its longest epoch, at least 300; the start of a process is limited, too; never if null",
    )
    max_failed_trials: int | None = Field(None, ge=1, description="failed trials that stop the study; no limit if null")
    budget: Budget | None = Field(None, description="what the study may use in all; no limit if null")
    fail_fast: bool = Field(False, description="stop the study at its first failed trial")
    sizes: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="named sets of overrides, path -> value, chosen by --size"
    )
    reference: Reference | None = Field(None, description="reported figures and claims to put beside ours")

    @model_validator(mode="before")
    @classmethod
    def _repeats_are_seeds(cls, tree: Any) -> Any:
        return with_repeats_as_seeds(tree)

    @field_validator("design", mode="before")
    @classmethod
    def _design_by_name(cls, design: Any) -> Any:
        return {"kind": design} if isinstance(design, str) else design

    @field_validator("sequential", mode="before")
    @classmethod
    def _sequential_by_default(cls, sequential: Any) -> Any:
        if isinstance(sequential, bool):
            return {} if sequential else None
        if not isinstance(sequential, Mapping | Sequential | None):
            raise must("", sequential, "true, false, or a mapping with keys such as looks, spending and futility")
        return sequential

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

    @field_validator("trial_timeout", mode="before")
    @classmethod
    def _seconds_or_auto(cls, timeout: Any) -> Any:
        is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
        if timeout not in ("auto", None) and not (is_number and 0 < timeout <= MAX_TIMEOUT):
            raise must("", timeout, f"seconds above 0 and up to {MAX_TIMEOUT:,}, auto, or null for no limit")
        return float(timeout) if is_number else timeout

    @field_validator("sizes")
    @classmethod
    def _few_sizes(cls, sizes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if len(sizes) > MAX_SIZES:
            raise must("", f"{len(sizes):,} sets of overrides", f"at most {MAX_SIZES}")
        return sizes

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

    @field_validator("metrics")
    @classmethod
    def _metrics_of_a_task(cls, metrics: dict[str, MetricSpec], info: ValidationInfo) -> dict[str, MetricSpec]:
        if metrics and info.data.get("task") is None:
            raise must("", list(metrics), "left out without `task`: those of image classification are built in")
        for name in metrics:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name in RESERVED:
                raise refused(name, name, "is not a usable name: take a-z, 0-9 and '_', and no column of the store")
        return metrics

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str, info: ValidationInfo) -> str:
        known = known_metrics(info.data)
        if metric not in known:
            raise must("", metric, unknown_metric(metric, known) if known else "declared under `metrics`")
        return with_direction(metric, known)

    @field_validator("choose_by")
    @classmethod
    def _chosen_by(cls, choose_by: str | None, info: ValidationInfo) -> str | None:
        known, metric = known_metrics(info.data), info.data.get("metric")
        choices = [name for name in known if split_of(name) != "test" and name != "seconds"]
        if choose_by is None and metric is not None:
            counterpart = validation_counterpart(metric)
            if metric == "seconds":
                raise refused("", None, "is missing: `metric` is 'seconds', which chooses no epoch; name another")
            if counterpart not in known:
                raise refused(
                    "", None, f"is missing: `metric` is {metric!r}, and {counterpart!r} is not declared under `metrics`"
                )
        elif choose_by is not None and choose_by not in choices:
            rule = unknown_metric(choose_by, choices)
            raise must("", choose_by, f"{rule}; neither the test split nor `seconds` takes part in a choice")
        if (chosen := choose_by or (metric and validation_counterpart(metric))) in known:
            with_direction(chosen, known)
        return choose_by

    @field_validator("baseline", mode="wrap")
    @classmethod
    def _baseline_of_the_task(cls, baseline: Any, handler: Any, info: ValidationInfo) -> Config:
        if isinstance(baseline, Config):
            baseline = baseline.model_dump(mode="json", exclude={*Config.DERIVED, "run"})
        if not isinstance(baseline, Mapping):
            raise PydanticKnownError("dict_type")
        data = info.data
        for name in (*Config.DERIVED, "run"):
            if name in baseline:
                raise refused(name, baseline[name], "is set by the program: leave it out")
        task, code = data.get("task"), data.get("code")
        derived: dict[str, Any] = {"choose_by": data.get("choose_by")}
        if derived["choose_by"] is None and data.get("metric"):
            derived["choose_by"] = validation_counterpart(data["metric"])
        if data.get("training_version"):
            derived["training_version"] = data["training_version"]
        if code is not None:
            derived["code"] = code.fingerprint
        if task is not None:
            derived["run"] = task.run
        return config_type(task, code).model_validate({**baseline, **derived})

    @field_serializer("baseline")
    def _without_derived(self, baseline: Config) -> dict[str, Any]:
        tree = baseline.model_dump(mode="json")
        return {name: value for name, value in tree.items() if name not in (*Config.DERIVED, "run")}

    @model_validator(mode="after")
    def _no_rope_in_an_unknown_unit(self) -> Self:
        if "rope" not in self.model_fields_set and self.metric_record().bounds != (0.0, 1.0):
            object.__setattr__(self, "rope", 0.0)
        return self

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        needed, other = ("factors", "space") if self.mode == "ablation" else ("space", "factors")
        if getattr(self, other) is not None:
            remedy = " (or say `mode: search`)" if other == "space" else ""
            raise must(other, list(getattr(self, other)), f"left out in a study of mode {self.mode}{remedy}")
        if not getattr(self, needed):
            raise must(needed, getattr(self, needed), f"given and not empty in a study of mode {self.mode}")
        if self.mode == "search" and self.tune is not None:
            raise must("tune", "given", "left out in a study of mode search: an ablation tunes its arms")
        if self.training_version is None:  # stores of earlier releases may have what has no effect
            self._refuse_without_effect()
        if self.tune is not None and (taken := {"repeat", "trial", "is_final"} & set(self.metrics)):
            raise refused("metrics", sorted(taken), f"has {min(taken)!r}, a column of tuned ablations; rename it")
        if self.baseline.seed:
            raise must("baseline.seed", self.baseline.seed, "left out: list seeds under `seeds`")
        check_looks(self)
        asha = self.search.asha
        if self.mode == "search" and asha and asha.grace_period > self.baseline.epochs:
            raise must("search.asha.grace_period", asha.grace_period, f"at most the {self.baseline.epochs} epochs")
        check_published(self)
        return self

    def _refuse_without_effect(self) -> None:
        """Refuse what is written and has no effect in the study's mode."""
        if self.mode == "ablation" and self.search != Search():
            what = "is given, but has no effect in a study of mode ablation; leave it out, or say `mode: search`"
            raise refused("search", None, what)
        if self.mode == "search" and self.design != Design():
            raise refused("design", None, "is given, but has no effect in a study of mode search; leave it out")
        if self.mode == "search" and "seeds" in self.model_fields_set and len(self.seeds) > 1:
            rule = "one seed in a study of mode search, which trains each configuration once"
            raise must("seeds", list(self.seeds), f"{rule}; `tune-app confirm` trains the best ones with more seeds")

    def metric_records(self) -> dict[str, Metric]:
        """Return every metric that this study can be about, by name: those of its task, and the declared ones."""
        return known_metrics(self.__dict__)

    def metric_record(self, name: str | None = None) -> Metric:
        """Return the record of a metric, the study's own if no name is given; see `metrics.metric_named`."""
        return metric_named(name or self.metric, self.metric_records())

    @property
    def replicate(self) -> str:
        """What one paired difference comes from: ``repeat`` in a tuned ablation, else ``seed``."""
        return "seed" if self.tune is None else "repeat"

    def choose_by_metric(self) -> str:
        """Return the metric by which the best epoch, ASHA's rungs and the winner are chosen."""
        return self.choose_by or validation_counterpart(self.metric)

    def read_factors(self) -> tuple[Factor, ...]:
        """Return the factors with their levels, the baseline's own first; StudyError where one is refused."""
        return read_factors(self.factors, self.baseline)

    def search_space(self) -> SearchSpace:
        """Return the space of a search, tried on the baseline; StudyError where it is refused."""
        if self.space is None:
            raise StudyError("`space` is missing: a study of mode search names the fields to search over")
        return SearchSpace(self.space, self.baseline)

    def planned_trials(self) -> int:
        """Return how many trials a search has: ``search.trials``, or as many as its space has different configs."""
        return self.search_space().count(self.search.trials)


def _mapping_or_names(value: Any) -> Any:
    if value is not None and not isinstance(value, Mapping):
        raise must("", value, "a mapping from fields to values, or a list of names from the catalog")
    return value
