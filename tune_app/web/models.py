"""The documents that the API takes and returns. Times are seconds since 1970 (UTC), durations are seconds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

CellState = Literal["missing", "running", "completed", "pruned", "diverged", "failed"]
StudyState = Literal["queued", "running", "stopping", "complete", "incomplete", "unreadable"]
RunState = Literal["queued", "running", "stopping", "finished", "failed", "stopped", "lost"]


class Document(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StudyMistake(Document):
    """One mistake in a study: where it is, what was given, what is allowed."""

    message: str
    path: str | None = None
    value: str | None = None
    allowed: str | None = None
    line: int | None = None
    column: int | None = None


class Problem(Document):
    """Problem details by RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    mistakes: list[StudyMistake] | None = None


class MetricInfo(Document):
    """What a metric is: ``scale`` leads from stored to shown values."""

    name: str
    label: str
    unit: str
    scale: float
    digits: int
    higher_is_better: bool | None


class StudySubmission(Document):
    """A study to validate, plan or run: YAML text or plain data, one of its sizes, and ``path=value`` overrides."""

    study: str | dict[str, Any] = Field(description="YAML text, the name of a ready study, or the study as an object")
    size: str | None = Field(None, max_length=64, description="one of the study's own sizes")
    overrides: list[str] = Field(default_factory=list, max_length=200, description="path=value, such as seeds=3")


class RunSubmission(StudySubmission):
    """A study to run."""

    priority: int = Field(0, ge=-100, le=100, description="runs of higher priority start first")


class Validation(Document):
    """Whether a study is right, with every mistake that was found."""

    valid: bool
    name: str | None = None
    question: str | None = None
    mode: str | None = None
    arms: int | None = None
    cells: int | None = None
    mistakes: list[StudyMistake] = Field(default_factory=list)


class PlannedArm(Document):
    """An arm of a plan: cells by state, and the time that the missing ones take, where it can be estimated."""

    name: str
    is_reference: bool
    levels: dict[str, str]
    cells: int
    done: int
    seconds_per_cell: float | None
    change: Literal["same", "new", "removed"] = "same"


class StudyPlan(Document):
    """What running a study would do, before it is started."""

    name: str
    question: str
    mode: str
    metric: MetricInfo
    seeds: int
    arms: list[PlannedArm]
    cells: int
    done: int
    missing: int
    new_cells: int = Field(description="cells that the study as stored did not plan")
    removed_cells: int = Field(description="cells that the stored study planned and this one does not")
    trial_seconds: float | None = Field(description="time of the missing cells one after another; None if unknown")
    gpu_seconds: float | None
    smallest_difference: float | None = Field(
        description="difference that the seeds detect with 80 % power, 5 % error over all comparisons; None if unknown"
    )
    spread: float | None = Field(description="observed standard deviation of paired differences it rests on")
    aliases: list[str]
    notes: list[str]


class EffectRow(Document):
    """An arm against the reference arm, in stored units. ``verdict`` is None while planned cells are missing."""

    arm: str
    reference: str
    n: int
    mean: float | None
    reference_mean: float | None
    difference: float | None
    low: float | None
    high: float | None
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
    """What the finished trials took."""

    trial_seconds: float
    gpu_seconds: float
    cpu_seconds: float


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


class StudyDetail(StudySummary):
    """A study with its cells and the running ones."""

    metric_info: MetricInfo
    metrics: list[MetricInfo]
    arms: list[str]
    seeds: list[int]
    cells: list[GridCell] = Field(description="planned cells, at most 5,000")
    failures: list[TrialFailure]
    problems: list[str]
    live_at: float | None = Field(description="when the run last wrote its live state")


class TrialFailure(Document):
    """A trial that failed or diverged, with the line of the user's own code first where there is one."""

    trial: str
    arm: str
    seed: int
    status: str
    reason: str
    place: str | None = None


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
    files: list[str]


class Curve(Document):
    """A metric by epoch: of a trial, or the mean over an arm's trials with its 95 % t interval."""

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


class Run(Document):
    """A run of this service."""

    id: str
    study: str
    question: str
    state: RunState
    priority: int
    size: str | None
    overrides: list[str]
    created_at: float
    created_by: str
    started_at: float | None
    ended_at: float | None
    exit_code: int | None
    reason: str | None


class RunList(Document):
    """Runs, the newest first."""

    runs: list[Run]


class StudyList(Document):
    """Studies, the one with the latest activity first."""

    studies: list[StudySummary]


class LogPart(Document):
    """A part of a run's log; ``next`` is the offset of what follows, in bytes."""

    offset: int
    next: int
    text: str
    complete: bool


class TokenSummary(Document):
    """A token without its secret."""

    name: str
    scope: Literal["read", "run", "admin"]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    used_at: float | None


class TokenRequest(Document):
    """A token to create."""

    name: str = Field(min_length=1, max_length=64)
    scope: Literal["read", "run", "admin"]
    days: float | None = Field(None, gt=0, le=3650)


class NewToken(Document):
    """A created token: the only time that it can be seen."""

    name: str
    token: str


class Health(Document):
    """The server answers."""

    status: Literal["ok"] = "ok"


StudyDetail.model_rebuild()
