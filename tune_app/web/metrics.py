"""The metrics of a study's store: every column of measurements, with unit, scale and label from its record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces.metrics import IMAGE_METRICS, Metric, metric_named
from tune_app.web.models import MetricInfo

NOT_METRICS = frozenset({"cpus", "gpus", "seconds"})
"""Columns of floating-point numbers that are bookkeeping."""


def record(name: str, study: Mapping[str, Any]) -> Metric:
    """Return the record of a metric of a stored study."""
    return metric_named(name, declared(study))


def declared(study: Mapping[str, Any]) -> Mapping[str, Metric]:
    """Return the metrics that a stored study declares."""
    return IMAGE_METRICS


def info(metric: Metric) -> MetricInfo:
    """Return a metric as the API describes it."""
    return MetricInfo(
        name=metric.name,
        label=metric.label,
        unit=metric.unit,
        scale=metric.scale,
        digits=metric.digits,
        higher_is_better=metric.higher_is_better,
    )


def infos(names: Iterable[str], study: Mapping[str, Any]) -> list[MetricInfo]:
    """Return the description of each metric."""
    return [info(record(name, study)) for name in names]
