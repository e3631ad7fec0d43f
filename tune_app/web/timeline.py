"""When trials ran on which host, and how much of its GPUs or CPUs they were given: places on an axis from 0 to 1000."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_app.web.index import StudyIndex
from tune_app.web.summaries import running

WIDTH = 1000.0
MAX_TRIALS, MAX_LANES = 300, 24
"""Latest trials that are drawn, and trials side by side on a host."""


@dataclass(frozen=True)
class Bar:
    """One trial: from ``x`` on, ``width`` wide, in a lane of its own while it ran."""

    label: str
    state: str
    x: float
    width: float
    lane: int


@dataclass(frozen=True)
class Host:
    """One host. ``area``: points of a polygon, 0 to 1 high, of the share in use; ``most``: the share at its top."""

    name: str
    bars: Sequence[Bar]
    lanes: int
    area: str
    most: float
    unit: str


@dataclass(frozen=True)
class Timeline:
    """The hosts of the latest trials, between two moments (seconds since 1970); ``left_out`` earlier trials."""

    start: float
    end: float
    hosts: Sequence[Host]
    left_out: int


@dataclass(frozen=True)
class _Span:
    host: str
    label: str
    state: str
    start: float
    end: float
    gpus: float
    cpus: float


def timeline(study: StudyIndex, now: float | None = None) -> Timeline | None:
    """Return where the latest trials ran, running ones until now; None where no trial has a start and an end."""
    now = time.time() if now is None else now
    ended, total = study.remember("spans", lambda: _ended(study))
    live = [span for trial in running(study) if (span := _span(trial, "running", now)) is not None]
    shown = [*ended, *live][-MAX_TRIALS:]
    if not shown:
        return None
    start, end = min(span.start for span in shown), max(span.end for span in shown)
    by_host: dict[str, list[_Span]] = defaultdict(list)
    for span in shown:
        by_host[span.host].append(span)
    hosts = [_host(name, by_host[name], start, end) for name in sorted(by_host)]
    return Timeline(start, end, hosts, total + len(live) - len(shown))


def _ended(study: StudyIndex) -> tuple[list[_Span], int]:
    """Return the latest finished trials in order of their end, and how many there are in all."""
    found = [_span(row, row["status"], row["finished_at"]) for row in study.trials.values() if row["finished_at"]]
    spans = sorted((span for span in found if span is not None), key=lambda span: (span.end, span.start))
    return spans[-MAX_TRIALS:], len(spans)


def _span(trial: Mapping[str, Any], state: str, end: float) -> _Span | None:
    start = trial.get("started_at")
    if start is None or end < start:
        return None
    label = f"{trial['arm']}, seed {trial['seed']}"
    return _Span(
        trial.get("node") or "unknown", label, state, start, end, trial.get("gpus") or 0.0, trial.get("cpus") or 0.0
    )


def _host(name: str, spans: Sequence[_Span], start: float, end: float) -> Host:
    scale = WIDTH / ((end - start) or 1.0)
    bars: list[Bar] = []
    free: list[float] = []
    for span in sorted(spans, key=lambda span: span.start):
        lane = next((lane for lane, until in enumerate(free) if until <= span.start), len(free))
        free[lane : lane + 1] = [span.end]
        if lane < MAX_LANES:
            x = round((span.start - start) * scale, 2)
            bars.append(Bar(span.label, span.state, x, max(1.0, round((span.end - span.start) * scale, 2)), lane))
    has_gpus = any(span.gpus for span in spans)
    steps = shares([(span.start, span.end, span.gpus if has_gpus else span.cpus) for span in spans])
    most = max((share for _, share in steps), default=0.0)
    area = _area([((at - start) * scale, share / most if most else 0.0) for at, share in steps])
    return Host(name, bars, min(len(free), MAX_LANES), area, most, "GPUs" if has_gpus else "CPUs")


def shares(spans: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Return (moment, share in use from then on) for (start, end, share) of trials, in order of time."""
    changes: dict[float, float] = defaultdict(float)
    for start, end, share in spans:
        changes[start] += share
        changes[end] -= share
    found, total = [], 0.0
    for at in sorted(changes):
        total += changes[at]
        found.append((at, round(total, 6)))
    return found


def _area(steps: Sequence[tuple[float, float]]) -> str:
    """Return the points of a polygon under a step function, y downwards from 1."""
    points, before = [], 0.0
    for x, y in steps:
        points += [(x, 1 - before), (x, 1 - y)]
        before = y
    return " ".join(f"{x:.1f},{y:.3f}" for x, y in points)


def hosts_of(found: StudyIndex) -> list[dict[str, Any]]:
    """Return what each host does and did: running trials with their share of GPUs, and finished ones."""
    hosts: dict[str, Any] = defaultdict(Counter)
    for host, values in found.remember("hosts", lambda: _ended_on(found)).items():
        hosts[host].update(values)
    for trial in running(found):
        hosts[trial["node"] or "not known yet"].update({"running": 1, "gpus": trial["gpus"]})
    names = ("running", "gpus", "ended", "seconds")
    return [{"name": host, **{name: values[name] for name in names}} for host, values in sorted(hosts.items())]


def _ended_on(found: StudyIndex) -> dict[str, Counter[str]]:
    hosts: dict[str, Any] = defaultdict(Counter)
    for row in found.trials.values():
        hosts[row.get("node") or "unknown"].update({"ended": 1, "seconds": row["seconds"] or 0.0})
    return dict(hosts)
