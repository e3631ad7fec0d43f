"""What a plan of image classification reads and says: data that may not be here yet, notes, the time of an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from search_spaces.config import Config, TrialConfig
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, blank_source, load_source, source_key
from tune_app.models import build_model
from tune_app.training import keep_freed_memory, misnamed, resolve_device, set_threads
from tune_app.training.estimate import epoch_seconds
from tune_app.user_code import CodeSource


def planned_sources(spec: StudySpec, code: CodeSource) -> dict[str, ImageArrays]:
    """Return the sources by `source_key`; blank images for one that is not here, since a plan downloads nothing."""
    by_key = {source_key(config.data): config.data for config in _configs(spec)}
    return {key: blank_source(data) or load_source(data, code=code) for key, data in by_key.items()}


def planning_notes(spec: StudySpec, sources: Mapping[str, ImageArrays]) -> list[str]:
    """Return what to know: data that is not here, tensors that decay by name gets wrong."""
    data = {source_key(config.data): config.data for config in _configs(spec)}
    found = [
        f"{part.source} is not downloaded yet: nothing counts as done, and times are those of blank images"
        for part in data.values()
        if blank_source(part) is not None
    ]
    for arm in make_plan(spec).arms if spec.mode == "ablation" else ():
        assert isinstance(arm.config, TrialConfig)
        wrong = _wrong_by_name(arm.config, sources[source_key(arm.config.data)])
        if wrong:
            found.append(f"arm {arm.name!r}: by_name misclassifies {len(wrong)} tensors: {', '.join(wrong)}")
    return found


def training_seconds(config: TrialConfig, arrays: ImageArrays, cpus: float, gpus: float) -> float:
    """Return the seconds of a training, from a few steps on as many threads as a trial is given."""
    set_threads(max(1, int(cpus)))
    keep_freed_memory()
    return epoch_seconds(config, arrays, resolve_device("auto" if gpus else "cpu")) * config.epochs


def shape_of(config: TrialConfig) -> str:
    """Return what the time of an epoch depends on."""
    canonical = config.canonical()
    parts = ("data", "model", "augmentation", "batch_size", "precision")
    return repr([canonical[part] for part in parts] + [config.optimizer.name])


def _configs(spec: StudySpec) -> list[TrialConfig]:
    """Return the configs of the arms with the values that they try, or a search's baseline."""
    configs: list[Config] = make_plan(spec).configs() if spec.mode == "ablation" else [spec.baseline]
    return [config for config in configs if isinstance(config, TrialConfig)]


def _wrong_by_name(config: TrialConfig, arrays: ImageArrays) -> list[str]:
    if config.weight_decay_grouping.policy != "by_name" or config.references():
        return []
    _, side, _, channels = arrays.train_images.shape
    with torch.device("meta"):
        model = build_model(config.model, channels, len(arrays.classes), config.data.resolution or side)
    return list(misnamed(model))
