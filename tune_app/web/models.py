"""The documents that the API returns about studies. Times are seconds since 1970 (UTC), durations are seconds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

CellState = Literal["missing", "running", "completed", "pruned", "diverged", "failed"]
StudyState = Literal["queued", "running", "stopping", "complete", "incomplete", "unreadable"]


class Document(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricInfo(Document):
    """What a metric is: ``scale`` leads from stored to shown values."""

    name: str
    label: str
    unit: str
    scale: float
    digits: int
    higher_is_better: bool | None


class EffectRow(Document):
    """An arm against the reference arm, in stored units. ``verdict`` is None while planned cells are missing.

    ``low``, ``high``: an interval of ``level`` per cent: 95, or for the verdict "equivalent" 90, that of its test.
    ``p`` is of that test, by Holm.
    """

    arm: str
    reference: str
    n: int
    mean: float | None
    reference_mean: float | None
    difference: float | None
    low: float | None
    high: float | None
    level: int = 95
    p: float | None
    verdict: str | None
    words: str


class Effects(Document):
    """What the study shows so far. ``decided`` says whether verdicts are given; ``statement`` why or why not."""

    study: str
    metric: MetricInfo
    decided: bool
    missing: int
    planned: int
    statement: str
    rows: list[EffectRow]
    problems: list[str]


class Cost(Document):
    """What finished trials took; ``money`` at the study's price, None without one."""

    trial_seconds: float
    gpu_seconds: float
    cpu_seconds: float
    money: float | None = None


class BudgetLimit(Document):
    """A limit of the study's budget: hours, or money in the currency of the price. All trials of the store count."""

    name: Literal["gpu_hours", "cpu_hours", "money"]
    limit: float
    spent: float
    left: float


class StudyCost(Document):
    """The budget with what is spent of it, the cost of each arm (at most 500), and what pruning saved."""

    limits: list[BudgetLimit]
    arms: dict[str, Cost]
    saved: Cost | None = Field(description="of pruned trials' remaining epochs, at their own time per epoch")


class StudySummary(Document):
    """A study in the list."""

    name: str
    question: str
    mode: str
    state: StudyState
    metric: str
    planned: int | None
    ended: int
    counts: dict[str, int]
    running: int
    eta_seconds: float | None
    statement: str
    last_activity: float | None
    cost: Cost
    run: str | None = Field(None, description="active run of this service")


class GridCell(Document):
    """One planned cell, or a trial."""

    arm: str
    seed: int
    state: CellState
    value: float | None = None
    trial: str | None = Field(None, description="key of its trial")
    epoch: int | None = None
    epochs: int | None = None


class TrialFailure(Document):
    """A trial that failed or diverged, with the line of the user's own code first where there is one."""

    trial: str
    arm: str
    seed: int
    status: str
    reason: str
    place: str | None = None


class StudyDetail(StudySummary):
    """A study with its cells and the running ones."""

    metric_info: MetricInfo
    metrics: list[MetricInfo]
    arms: list[str]
    seeds: list[int]
    replicate: str = Field("seed", description="what a paired difference comes from: seed, or repeat if arms are tuned")
    cells: list[GridCell] = Field(description="planned cells, at most 5,000")
    failures: list[TrialFailure] = Field(description="the latest 50 of those that `counts` has as failed or diverged")
    problems: list[str]
    costs: StudyCost
    live_at: float | None = Field(description="when the run last wrote its live state")


class TrialRow(Document):
    """One trial. ``metrics`` are in stored units."""

    key: str
    arm: str
    seed: int
    status: str
    planned: bool
    epochs_trained: int | None
    epochs_planned: int | None
    best_epoch: int | None
    metrics: dict[str, float]
    seconds: float | None
    gpus: float | None
    node: str | None
    attempts: int | None
    started_at: float | None
    finished_at: float | None


class TrialPage(Document):
    """A page of trials; ``next`` is the cursor of the following page, None on the last."""

    trials: list[TrialRow]
    total: int
    matching: int
    next: str | None


class TrialDetail(TrialRow):
    """One trial with everything that is stored about it."""

    levels: dict[str, Any]
    config: dict[str, Any]
    difference: dict[str, tuple[Any, Any]] = Field(description="field -> (baseline's value, this trial's value)")
    history: list[str]
    error: str | None
    reason: str | None
    place: str | None
    device_name: str | None
    precision: str | None
    parameters: int | None
    log_lines: str | None = Field(None, description="the last lines that the training wrote by context.log")
    files: list[str]


class Curve(Document):
    """A metric by epoch: of a trial, or the mean over an arm's completed trials with its 95 % t interval."""

    name: str
    arm: str
    seed: int | None
    state: CellState | None
    n: int
    epochs: list[int]
    values: list[float | None]
    low: list[float | None] | None = None
    high: list[float | None] | None = None


class Curves(Document):
    """Learning curves, each of at most 300 points; ``total`` counts the curves that match."""

    metric: MetricInfo
    group: Literal["arm", "trial"]
    curves: list[Curve]
    total: int
    points_left_out: bool


class StoredFile(Document):
    """A file that can be fetched. ``size`` is None for a table that is put together on request."""

    name: str
    size: int | None


class StudyList(Document):
    """Studies, the one with the latest activity first."""

    studies: list[StudySummary]
