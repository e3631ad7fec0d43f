"""Trials of a study: filtered, sorted and paged by keyset, and one trial in full."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.config.base import Config
from search_spaces.errors import nearest
from tune_app.web.index import StudyIndex
from tune_app.web.models import TrialDetail, TrialPage, TrialRow
from tune_app.web.problems import ProblemError
from tune_app.web.summaries import metric_of, reason_of
from tune_app.web.tables import Row

COLUMNS = ("arm", "seed", "status", "finished_at", "seconds", "epochs_trained", "attempts")


@dataclass(frozen=True)
class Query:
    """Which trials, and in what order. ``sort`` is a column or a metric, with a leading "-" for descending."""

    status: str | None = None
    arm: str | None = None
    seed: int | None = None
    text: str = ""
    sort: str = "arm"
    cursor: str | None = None
    limit: int = 100


def page(study: StudyIndex, query: Query) -> TrialPage:
    """Return a page of trials. Trials without a value in the sorted column come last, ties are ordered by key."""
    name, descending = query.sort.removeprefix("-"), query.sort.startswith("-")
    metrics = {metric for row in study.trials.values() for metric in row["metrics"]}
    metrics |= {metric_of(study).name, *(study.spec.metrics if study.spec else ())}  # no trial may have a value yet
    if name not in (*COLUMNS, *metrics):
        names = [*COLUMNS, *sorted(metrics)]
        raise ProblemError(422, f"`sort` is {name[:70]!r}, but must be one of {', '.join(names)}{nearest(name, names)}")
    rows = [(key, row) for key, row in study.trials.items() if _matches(row, query)]
    values = {key: row["metrics"].get(name) if name in metrics else row.get(name) for key, row in rows}
    present = sorted(((values[key], key) for key, _ in rows if values[key] is not None), reverse=descending)
    order = [key for _, key in present] + sorted(key for key, _ in rows if values[key] is None)
    start = _after(query.cursor, values, present, order, descending)
    keys = order[start : start + query.limit]
    more = start + query.limit < len(order)
    cursor = _encode([values[keys[-1]], keys[-1]]) if more and keys else None
    shown = [trial_row(key, study.trials[key]) for key in keys]
    return TrialPage(trials=shown, total=len(study.trials), matching=len(rows), next=cursor)


def _matches(row: Row, query: Query) -> bool:
    return (
        (query.status is None or row["status"] == query.status)
        and (query.arm is None or row["arm"] == query.arm)
        and (query.seed is None or row["seed"] == query.seed)
        and (not query.text or query.text.lower() in f"{row['arm']} {row['digest']} {row.get('node')}".lower())
    )


def _after(
    cursor: str | None, values: Mapping[str, Any], present: list[tuple[Any, str]], order: list[str], descending: bool
) -> int:
    """Return the index of the first trial after a cursor, also where that trial is no longer in the list."""
    if cursor is None:
        return 0
    value, key = _decode(cursor)
    try:
        if value is None:
            return sum(values[other] is not None or other <= key for other in order)
        last = (value, key)
        return sum(pair >= last if descending else pair <= last for pair in present)
    except TypeError:
        raise ProblemError(422, "`cursor` is not one that this service returned for this order") from None


def _encode(position: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[Any, str]:
    try:
        value, key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, TypeError, RecursionError):
        value, key = None, None
    if not isinstance(key, str) or isinstance(value, list | dict):
        raise ProblemError(422, "`cursor` is not one that this service returned")
    return value, key


def trial_row(key: str, row: Row) -> TrialRow:
    """Return a trial as the table shows it."""
    names = ("arm", "seed", "status", "planned", "metrics", "epochs_trained", "epochs_planned", "best_epoch")
    more = ("seconds", "gpus", "node", "attempts", "started_at", "finished_at")
    return TrialRow(key=key, **{name: row.get(name) for name in (*names, *more)})


def trial(study: StudyIndex, key: str) -> TrialDetail:
    """Return a trial in full; a 404 problem where there is none of this key."""
    row = study.trials.get(key)
    if row is None:
        raise ProblemError(404, f"there is no trial {key[:70]!r} in study {study.name!r}")
    config, baseline = _object(row.get("config")), study.tree.get("baseline")
    reason, place = reason_of(row) if row["status"] in ("failed", "diverged") else (None, None)
    return TrialDetail(
        **trial_row(key, row).model_dump(),
        levels=_object(row.get("levels")),
        config=config,
        difference=difference(baseline if isinstance(baseline, dict) else {}, config),
        history=[str(entry) for entry in _list(row.get("history"))],
        error=row.get("error"),
        reason=reason,
        place=place,
        device_name=row.get("device_name"),
        precision=row.get("precision"),
        parameters=row.get("parameters"),
        log_lines=row.get("log_lines"),
        files=_files(study, key),
    )


def _files(study: StudyIndex, key: str) -> list[str]:
    tables = ("trials", "epochs", "quantiles", "correct")
    return [f"{table}/{key}.parquet" for table in tables if (study.folder / table).exists(f"{key}.parquet")]


_NOT_CHOSEN = frozenset({"seed", *Config.DERIVED})
"""Fields of a trial config that the plan sets, not the study's author."""


def difference(baseline: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which a config differs from the baseline, by dotted path: (baseline, config)."""
    ours, theirs = dict(_leaves(config)), dict(_leaves(baseline))
    return {
        path: (theirs.get(path), ours.get(path))
        for path in dict.fromkeys([*ours, *theirs])
        if ours.get(path) != theirs.get(path) and path not in _NOT_CHOSEN
    }


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _object(text: Any) -> dict[str, Any]:
    found = _parsed(text)
    return found if isinstance(found, dict) else {}


def _list(text: Any) -> list[Any]:
    found = _parsed(text)
    return found if isinstance(found, list) else []


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
