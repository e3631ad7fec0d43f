"""What is checked of a study beside its single fields: metrics, looks, published figures and claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.config.base import must, refused
from search_spaces.metrics import CLAIM_METRICS, COMMON_METRICS, IMAGE_METRICS, Metric, unknown_metric

if TYPE_CHECKING:
    from search_spaces.study import StudySpec

RESERVED = frozenset({
    "digest", "fingerprint", "run_id", "schema_version", "study", "mode", "arm", "is_baseline", "levels", "seed",
    "config", "status", "epoch", "epochs_planned", "epochs_trained", "best_epoch", "test_confusion", "classes",
    "parameters", "precision", "device", "device_name", "node", "cpus", "gpus", "started_at", "finished_at", "attempts",
    "history", "error", "task", "code", "choose_by", "artifacts", "log_lines",
})  # fmt: skip
"""Names that no metric of a training function may have: the columns of trials and epochs that are no metrics.

All the same, a training function may give ``parameters`` with its final figures, and the epoch's number as ``epoch``.
"""


def with_direction(name: str, known: Mapping[str, Metric]) -> str:
    """Return the name of a metric with a declared direction; refuse one that has none."""
    if known[name].higher_is_better is None:
        remedy = f"metrics: {{{name}: {{better: higher}}}}"
        raise refused("", name, f"is {name!r}, whose direction is not declared; declare it: {remedy}")
    return name


def known_metrics(data: Mapping[str, Any]) -> dict[str, Metric]:
    """Return the metrics of a study's task by name, from its fields read so far."""
    if data.get("task") is None:
        return dict(IMAGE_METRICS)
    declared = {name: spec.record(name) for name, spec in (data.get("metrics") or {}).items()}
    return declared | {name: COMMON_METRICS[name] for name in ("seconds",) if name not in declared}


def check_looks(spec: StudySpec) -> None:
    """Refuse looks that do not fit the study's mode and seeds."""
    if spec.sequential is None:
        return
    if spec.mode == "search":
        raise refused("sequential", None, "is given, but a study of mode search has no arms to compare; leave it out")
    if spec.tune is not None:
        raise refused("sequential", None, "is given with `tune`, whose repeats are not added by rule; drop one")
    if len(spec.seeds) < 2:
        raise must("seeds", list(spec.seeds), "2 or more with `sequential`: one seed shows no spread; take 20")
    looks, most = spec.sequential.looks or (), len(spec.seeds)
    if looks and looks[-1] > most:
        raise must("sequential.looks", list(looks), f"at most {most}, the number of seeds; raise `seeds`")


def check_published(spec: StudySpec) -> None:
    """Refuse published figures and claims about metrics that this study does not have, or in another unit."""
    known, reference = known_metrics(spec.__dict__), spec.reference
    for i, figure in enumerate(reference.figures if reference else ()):
        if figure.metric not in known:
            raise must(f"reference.figures.{i}.metric", figure.metric, unknown_metric(figure.metric, known))
        low, high = known[figure.metric].bounds
        if (low is not None and figure.value < low) or (high is not None and figure.value > high):
            allowed = "a fraction from 0 to 1" if (low, high) == (0, 1) else f"from {low} to {high}"
            raise must(
                f"reference.figures.{i}.value", figure.value, f"{allowed} for {figure.metric}: 0.8957, not 89.57"
            )
    for i, claim in enumerate(reference.claims if reference else ()):
        if claim.metric not in ("", *CLAIM_METRICS) and claim.metric not in known:
            raise must(f"reference.claims.{i}.metric", claim.metric, unknown_metric(claim.metric, known))
        is_new = spec.training_version is None  # stores of earlier releases may have claims without a rope
        if is_new and not _can_have(spec, claim.metric, known):
            rule = f"{unknown_metric(claim.metric, known)}; {claim.metric} is computed for image classification alone: "
            raise must(f"reference.claims.{i}.metric", claim.metric, f"{rule}declare it under `metrics`")
        needs_rope = is_new and claim.expect == "equivalent" and claim.rope is None
        if needs_rope and not _rope_applies(spec, claim.metric, known):
            what = "given: the study has no `rope`, or one in another unit, and equivalence is tested against it"
            raise must(f"reference.claims.{i}.rope", None, what)


_GAPS = {
    "accuracy_gap": {"train_accuracy", "val_accuracy"},
    "clean_accuracy_gap": {"train_clean_accuracy", "val_accuracy"},
}
"""Claim metric -> the metrics that it is computed from, which any task may declare."""


def _can_have(spec: StudySpec, metric: str, known: Mapping[str, Metric]) -> bool:
    """Return whether a claim of this study can be about a metric that is known or one of `CLAIM_METRICS`."""
    is_own = spec.task is None or metric in ("", *known)
    return is_own or _GAPS.get(metric, {metric}) <= set(known)


def _rope_applies(spec: StudySpec, metric: str, known: Mapping[str, Metric]) -> bool:
    asked = known.get(metric or spec.metric) or CLAIM_METRICS[metric]
    return bool(spec.rope) and spec.metric_record().has_unit_of(asked)
