"""The built-in task: image classifiers, trained by `tune_app.training.fit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from search_spaces.config.base import Config, is_reference
from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, load_source, source_key
from tune_app.models import build_model, model_notes
from tune_app.tasks.base import EpochReport, TrialSetup
from tune_app.tasks.image_planning import planned_sources, planning_notes, shape_of, training_seconds
from tune_app.training import (
    EpochMetrics,
    Probes,
    device_name,
    fit,
    keep_freed_memory,
    resolve_device,
    resolve_precision,
    set_threads,
)
from tune_app.user_code import CodeSource


class ImageClassification:
    """Image classification. The trials share the decoded images of every source, by `source_key`."""

    def prepare(self, spec: StudySpec, code: CodeSource) -> dict[str, ImageArrays]:
        """Return the decoded sources of all arms."""
        configs = make_plan(spec).configs() if spec.mode == "ablation" else _searched(spec)
        by_key = {source_key(_image(config).data): _image(config).data for config in configs}
        return {key: load_source(data, code=code) for key, data in by_key.items()}

    def fingerprint(self, config: Config, shared: Mapping[str, Any]) -> str:
        """Return the fingerprint of the images."""
        return str(shared[source_key(_image(config).data)].fingerprint)

    def notes(self, spec: StudySpec, shared: Mapping[str, Any]) -> list[str]:
        """Return what to know about each arm's network."""
        found: list[str] = []
        for arm in make_plan(spec).arms if spec.mode == "ablation" else ():
            config = _image(arm.config)
            arrays = shared[source_key(config.data)]
            resolution = config.data.resolution or arrays.train_images.shape[1]
            try:
                found += model_notes(config.model, arrays.train_images.shape[3], resolution)
            except StudyError as error:
                raise StudyError(f"arm {arm.name!r} cannot be built: {error}") from None
        return list(dict.fromkeys(found))

    def plan_shared(self, spec: StudySpec, code: CodeSource) -> dict[str, ImageArrays]:
        """Return the sources, blank images for one that would be downloaded."""
        return planned_sources(spec, code)

    def plan_notes(self, spec: StudySpec, shared: Mapping[str, Any]) -> list[str]:
        """Return what to know about data and decay."""
        return planning_notes(spec, shared)

    def shape(self, config: Config) -> str:
        """Return what the time of an epoch depends on."""
        return shape_of(_image(config))

    def estimate(self, config: Config, shared: Mapping[str, Any], cpus: float, gpus: float) -> float | None:
        """Return the seconds of a training; None for a network of the user's own, which the driver does not import."""
        if is_reference(_image(config).model.family):
            return None
        return training_seconds(_image(config), shared[source_key(_image(config).data)], cpus, gpus)

    def train(self, config: Config, shared: Mapping[str, Any], setup: TrialSetup) -> Iterator[EpochReport]:
        """Train a network and yield each epoch."""
        config = _image(config)
        arrays = shared[source_key(config.data)]
        set_threads(max(1, int(setup.cpus)))
        keep_freed_memory()
        device = resolve_device("auto" if setup.gpus else "cpu")
        limit_memory(device, setup.gpus)
        epochs = fit(
            config,
            arrays,
            device=device,
            checkpoints=setup.checkpoints,
            checkpoint_seconds=setup.checkpoint_seconds,
            probes=Probes(**setup.probes.model_dump()),
        )
        fixed = {
            "device": device.type,
            "device_name": device_name(device),
            "precision": resolve_precision(config.precision, device),
        }
        for metrics in epochs:
            yield _report(config, arrays, metrics, fixed)


def _report(config: TrialConfig, arrays: ImageArrays, metrics: EpochMetrics, fixed: Mapping[str, Any]) -> EpochReport:
    columns = dict(fixed)
    if metrics.test is not None:
        columns |= metrics.test.columns("test") | {"test_confusion": list(metrics.test.confusion or ())}
    if metrics.status != "running":
        columns |= {"classes": list(arrays.classes), "parameters": parameter_count(config, arrays)}
    quantiles = [
        {"epoch": metrics.epoch, "layer": row.layer, "percentile": row.percentile, "value": row.value}
        for row in metrics.quantiles
    ]
    return EpochReport(
        epoch=metrics.epoch,
        row=metrics.to_row(),
        status=metrics.status,
        best_epoch=metrics.best_epoch,
        seconds=metrics.seconds,
        columns=columns,
        tables={"quantiles": quantiles},
    )


def limit_memory(device: torch.device, share: float) -> None:
    """Limit this process to its share of the GPU's memory; nothing on the CPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)


def parameter_count(config: TrialConfig, arrays: ImageArrays) -> int:
    """Return the number of trainable parameters, without allocating them."""
    resolution = config.data.resolution or arrays.train_images.shape[1]
    with torch.random.fork_rng(devices=()), torch.device("meta"):
        model = build_model(config.model, arrays.train_images.shape[3], len(arrays.classes), resolution)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _searched(spec: StudySpec) -> list[Config]:
    """Return configs that name every source a search may read: the baseline, and each level of `data` fields."""
    space = spec.search_space()
    data = {path: domain for path, domain in space.domains.items() if path.startswith("data.")}
    return [spec.baseline, *(space.config({path: v}) for path, domain in data.items() for v in domain.edges())]


def _image(config: Config) -> TrialConfig:
    assert isinstance(config, TrialConfig)
    return config
