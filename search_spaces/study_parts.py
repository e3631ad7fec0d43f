"""The sections of a study beside its trial configs: design, sequential, resources, search, probes, task, metrics."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from search_spaces.config.base import MAX_SEED, Part, must
from search_spaces.metrics import Metric, metric_named

MAX_GPUS = 1024
AUTO_SHARE = 0.25
"""Share of a GPU that ``resources.gpu: auto`` gives each trial where there are GPUs."""
FUTILITY = 0.1
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


class Sequential(Part):
    """When the results of a study are looked at, and by which rule an arm gets no more seeds."""

    looks: tuple[int, ...] | None = Field(
        None, strict=False, description="numbers of seeds, increasing; all seeds are the last look; chosen if null"
    )
    spending: Literal["quadratic", "obrien_fleming", "pocock"] = Field(
        "quadratic", description="how the error is spent over the looks"
    )
    futility: float = Field(
        FUTILITY,
        ge=0,
        lt=1,
        description="an arm stops whose chance of a decision with all seeds is below; true: 0.1, false: never",
    )

    @field_validator("futility", mode="before")
    @classmethod
    def _by_default_or_never(cls, futility: Any) -> Any:
        return (FUTILITY if futility else 0.0) if isinstance(futility, bool) else futility

    @field_validator("looks")
    @classmethod
    def _increasing(cls, looks: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if looks is not None and (not looks or looks[0] < 2 or sorted(set(looks)) != list(looks)):
            raise must("", list(looks), "increasing numbers of seeds, each 2 or more: [4, 6, 9]")
        return looks


class Resources(Part):
    """What each trial is given. A GPU share is a scheduling share that also caps the trial's memory."""

    cpu: float = Field(1.0, gt=0, le=1024, description="CPUs, which are also the trial's threads")
    gpu: float | str = Field(
        "auto",
        description="share of a GPU (0.25: four trials on each), or a whole number of GPUs; auto: a quarter (with "
        "`--inline` a whole one) if there are GPUs when the run starts, else none",
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
    trials: int = Field(32, ge=1, description="trials to propose, at most; a space of fewer configs ends with its last")
    asha: Asha | None = Field(default_factory=Asha, description="early stopping; every trial in full if null")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of the searcher")


class ProbeConfig(Part):
    """What is measured beside the metrics, each epoch. Changes no result."""

    quantiles: bool = Field(True, description="1, 20, 80, 99 % quantiles of the features before the classifier")
    norm_inputs: bool = Field(False, description="the same quantiles of every norm layer's input")
    norms: bool = Field(True, description="gradient norm, weight norm, share of dead features")
    train_clean: bool = Field(
        False,
        description="once, at the end: loss and accuracy on the training images without augmentation, in eval mode",
    )


class TaskSpec(Part):
    """A training of the user's own."""

    run: str = Field(description="the training function, my_pkg.train:train")

    @field_validator("run")
    @classmethod
    def _reference(cls, run: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", run):
            raise must("", run, "package.module:function, such as my_pkg.train:train")
        return run


class MetricSpec(Part):
    """What a study says about a metric that its training function reports."""

    better: Literal["higher", "lower"] | None = Field(None, description="direction; shown but not compared if null")
    unit: str = Field("", max_length=32, description="unit of the shown value, such as nats or tokens/s")
    label: str = Field("", max_length=64, description="name in plots and tables; the metric's own if empty")
    scale: float = Field(1.0, gt=0, description="factor from stored to shown values: 100 for a fraction in per cent")
    digits: int = Field(4, ge=0, le=12, description="digits after the decimal point")
    bounds: tuple[float | None, float | None] = Field(
        (None, None), strict=False, description="least and greatest possible value, null for none"
    )

    def record(self, name: str) -> Metric:
        """Return the metric of that name."""
        plain = metric_named(name, {})
        return Metric(
            name=name,
            label=self.label or plain.label,
            higher_is_better=None if self.better is None else self.better == "higher",
            unit=self.unit,
            scale=self.scale,
            digits=self.digits,
            bounds=self.bounds,
        )
