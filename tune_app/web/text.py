"""Numbers, times and metrics as pages show them: every number with its unit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from tune_app.web.models import MetricInfo

NONE = "–"


def duration(seconds: float | None) -> str:
    """Return a length of time: "0.4 s", "35 s", "4 min 05 s", "2 h 10 min"."""
    if seconds is None:
        return NONE
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def metric_value(value: float | None, metric: MetricInfo) -> str:
    """Return a stored value with its unit."""
    if value is None:
        return NONE
    space = "" if metric.unit in ("%", "") else " "
    return f"{value * metric.scale:.{metric.digits}f}{space}{metric.unit}"


def bare_value(value: float | None, metric: MetricInfo) -> str:
    """Return a stored value in the shown scale, without its unit."""
    return NONE if value is None else f"{value * metric.scale:.{metric.digits}f}"


def difference_value(value: float | None, metric: MetricInfo) -> str:
    """Return a signed difference in the shown scale, without its unit."""
    return NONE if value is None else f"{value * metric.scale:+.{metric.digits}f}".replace("-", "−")


def difference_unit(metric: MetricInfo) -> str:
    """Return the unit of a difference: percentages differ by points."""
    return "points" if metric.unit == "%" else metric.unit


def moment(at: float | None) -> Markup:
    """Return a time as an element; the page's script adds how long ago it was."""
    if at is None:
        return Markup(NONE)
    when = datetime.fromtimestamp(at, UTC)
    text = f"{when:%Y-%m-%d %H:%M} UTC"
    return Markup('<time datetime="{}" data-ago>{}</time>').format(when.isoformat(timespec="seconds"), text)


def plain(value: Any) -> str:
    """Return a config's value as a study file would have it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def file_size(size: int | None) -> str:
    """Return a number of bytes."""
    if size is None:
        return NONE
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


FILTERS = {
    "duration": duration,
    "metric": metric_value,
    "bare": bare_value,
    "difference": difference_value,
    "difference_unit": difference_unit,
    "moment": moment,
    "plain": plain,
    "file_size": file_size,
}
