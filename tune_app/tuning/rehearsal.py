"""A rehearsal: two cells of a study for two epochs, twice and once more with an interruption, and what that shows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.config import Config, TrialConfig
from search_spaces.metrics import require_direction, split_of
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import covering, make_splits, source_key
from tune_app.tasks import task_of
from tune_app.tuning.cell import OUT_OF_MEMORY, CellRunner, TrialSettings
from tune_app.tuning.jobs import Job
from tune_app.tuning.resources import gpu_share, local_resources, out_of_memory
from tune_app.user_code import code_source

EPOCHS = 2
STEPS = 4


@dataclass(frozen=True)
class Finding:
    """What a rehearsal shows of one cell, in words, and whether it is as it should be."""

    text: str
    passed: bool


def rehearse(spec: StudySpec) -> Iterator[Finding]:
    """Yield what two cells show: errors, whether a seed gives the same figures twice, whether a restart does.

    Figures of a split (``train_``, ``val_``, ``test_``) are compared; others, such as throughputs, may differ.
    """
    configs = [arm.config for arm in make_plan(spec).arms[:2]] if spec.mode == "ablation" else [spec.baseline]
    source = code_source(spec)
    shared = task_of(spec).prepare(spec, source)
    for number, config in enumerate(configs):
        name = f"cell {number + 1} of {len(configs)}"
        yield _judged(name, spec, _short(config, spec, shared), shared)


def _judged(name: str, spec: StudySpec, config: Config, shared: Mapping[str, Any]) -> Finding:
    first, status, error = _trained(spec, config, shared, interrupt=False)
    if error:
        return Finding(f"{name}: failed: {error}", passed=False)
    again, _, error = _trained(spec, config, shared, interrupt=False)
    if error:
        return Finding(f"{name}: failed when it was trained again: {error}", passed=False)
    if difference := _difference(first, again):
        return Finding(f"{name}: not deterministic: {difference} in two runs of one seed", passed=False)
    resumed, _, error = _trained(spec, config, shared, interrupt=True)
    if error:
        return Finding(f"{name}: failed when it was restarted: {error}", passed=False)
    if difference := _difference(first, resumed):
        return Finding(
            f"{name}: a restarted run differs: {difference}; register everything that has a state (context.register)",
            passed=False,
        )
    trains = "diverges (a figure is not finite)" if status == "diverged" else "trains"
    return Finding(f"{name}: {trains}; the same figures twice, and after an interruption", passed=True)


def _trained(
    spec: StudySpec, config: Config, shared: Mapping[str, Any], *, interrupt: bool
) -> tuple[dict[str, float], str, str]:
    """Return the figures of a short training, by epoch and metric, its status, and the error if it failed."""
    with tempfile.TemporaryDirectory(prefix="tune-app-") as folder:
        settings = _settings(spec, folder)
        share = gpu_share(spec.resources, local_resources())
        job = Job("rehearsal", False, {}, config, task_of(spec).fingerprint(config, shared), share)
        if interrupt:
            runner = CellRunner(shared, settings)
            runner.begin(job)
            runner.step()
            runner.close()
        runner = CellRunner(shared, settings)
        runner.begin(job)
        figures: dict[str, float] = {}
        while True:
            report = runner.step()
            for row in report["epochs"]:
                figures |= {f"epoch {row['epoch']} {key}": value for key, value in row.items() if split_of(key)}
            if report["done"]:
                figures |= {key: value for key, value in report["trial"].items() if split_of(key) and value is not None}
                status, error = report["status"], report["trial"].get("error", "")
                return figures, status, out_of_memory(spec, share) if status == OUT_OF_MEMORY else error


def _settings(spec: StudySpec, folder: str) -> TrialSettings:
    choose = spec.metric_record(spec.choose_by_metric())
    require_direction(choose)
    return TrialSettings(
        task=task_of(spec),
        choose=choose,
        metric=spec.metric,
        checkpoints=f"{folder}/checkpoints",
        artifacts=f"{folder}/artifacts",
        checkpoint_seconds=0.0,
        probes=spec.probes,
        cpus=spec.resources.cpu,
        report_seconds=0.0,
        code=code_source(spec),
    )


def _short(config: Config, spec: StudySpec, shared: Mapping[str, Any]) -> Config:
    """Return a config of two epochs; of few images where we know how to take few."""
    config = config.model_copy(update={"seed": spec.seeds[0]})
    values: dict[str, Any] = {"epochs": EPOCHS}
    if isinstance(config, TrialConfig):
        arrays = shared[source_key(config.data)]
        splits = make_splits(arrays, config.data, config.seed)
        few = max(STEPS * config.batch_size, 100)
        values |= {
            "data.train_size": covering(arrays.train_labels[splits.train], few),
            "data.validation_size": covering(arrays.train_labels[splits.val], few),
            "schedule.warmup_epochs": 0.0,
        }
    return config.with_values(values)


def _difference(one: Mapping[str, float], other: Mapping[str, float]) -> str:
    """Return the first figure that differs, with both values; "" where none does. NaN is equal to NaN."""
    for name in dict.fromkeys([*one, *other]):
        values = one.get(name), other.get(name)
        if not _equal(*values):
            return f"{name} is {values[0]} and {values[1]}"
    return ""


def _equal(one: float | None, other: float | None) -> bool:
    return one == other or (one != one and other != other)
