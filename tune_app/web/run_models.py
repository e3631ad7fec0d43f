"""The documents of the API for what is sent and started: submissions, mistakes, plans, runs, tokens."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tune_app.web.models import Document, MetricInfo

RunState = Literal["queued", "running", "stopping", "finished", "failed", "stopped", "lost"]


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
    replicate: str = Field("seed", description="what a paired difference comes from: seed, or repeat if arms are tuned")
    arms: list[PlannedArm]
    cells: int
    done: int
    missing: int
    new_cells: int = Field(description="cells that the study as stored did not plan")
    removed_cells: int = Field(description="cells that the stored study planned and this one does not")
    trial_seconds: float | None = Field(description="time of the missing cells one after another; None if unknown")
    gpu_seconds: float | None
    cpu_seconds: float | None
    money: float | None = Field(description="cost of the missing cells at the study's price; None if unknown")
    smallest_difference: float | None = Field(
        description="difference that the seeds detect with 80 % power, 5 % error over all comparisons; None if unknown"
    )
    spread: float | None = Field(description="observed standard deviation of paired differences it rests on")
    aliases: list[str]
    notes: list[str]


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
