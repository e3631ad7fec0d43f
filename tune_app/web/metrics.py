"""The metrics of a study's store: every column of measurements, with unit, scale and label from its record."""

from __future__ import annotations

from collections.abc import Iterable

from search_spaces.metrics import IMAGE_METRICS, Metric, metric_named
from search_spaces.study import StudySpec
from tune_app.web.models import MetricInfo

NOT_METRICS = frozenset({"cpus", "gpus", "seconds"})
"""Columns of floating-point numbers that are bookkeeping."""


def record(name: str, spec: StudySpec | None) -> Metric:
    """Return the record of a metric; of the built-in task where the stored study cannot be read."""
    return spec.metric_record(name) if spec is not None else metric_named(name, IMAGE_METRICS)


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


def infos(names: Iterable[str], spec: StudySpec | None) -> list[MetricInfo]:
    """Return the description of each metric."""
    return [info(record(name, spec)) for name in names]
