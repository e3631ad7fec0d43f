"""The data that a plan reads, and its notes: data not downloaded yet, models, decay by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from search_spaces.config.trial import DataConfig, TrialConfig
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, blank_source, load_source, source_key
from tune_app.models import build_model
from tune_app.training import misnamed
from tune_app.tuning.runner import notes


def planned_sources(spec: StudySpec) -> dict[str, ImageArrays]:
    """Return the sources by `source_key`; blank images for data not downloaded yet, since a plan downloads nothing."""
    return {key: blank_source(data) or load_source(data) for key, data in _data(spec).items()}


def plan_notes(spec: StudySpec, sources: Mapping[str, ImageArrays]) -> list[str]:
    """Return the notes: data not downloaded yet, special cases of models, tensors that decay by name misclassifies."""
    found = notes(spec, sources) if spec.mode == "ablation" else []
    found += [
        f"{data.source} is not downloaded yet: nothing counts as done, and times are those of blank images"
        for data in _data(spec).values()
        if blank_source(data) is not None
    ]
    for arm in make_plan(spec).arms if spec.mode == "ablation" else ():
        wrong = _wrong_by_name(arm.config, sources[source_key(arm.config.data)])
        if wrong:
            found.append(f"arm {arm.name!r}: by_name misclassifies {len(wrong)} tensors: {', '.join(wrong)}")
    return found


def _data(spec: StudySpec) -> dict[str, DataConfig]:
    """Return the data of the arms, or of a search's baseline, by `source_key`."""
    configs = [arm.config for arm in make_plan(spec).arms] if spec.mode == "ablation" else [spec.baseline]
    return {source_key(config.data): config.data for config in configs}


def _wrong_by_name(config: TrialConfig, arrays: ImageArrays) -> list[str]:
    if config.weight_decay_grouping.policy != "by_name":
        return []
    _, side, _, channels = arrays.train_images.shape
    with torch.device("meta"):
        model = build_model(config.model, channels, len(arrays.classes), config.data.resolution or side)
    return list(misnamed(model))
