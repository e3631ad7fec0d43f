"""What a plan reads and says beside its table: data that may not be here yet, notes on models and on decay by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from search_spaces.config.base import is_reference
from search_spaces.config.trial import DataConfig, TrialConfig
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, blank_source, load_source, source_key
from tune_app.models import build_model
from tune_app.training import misnamed
from tune_app.tuning.runner import notes
from tune_app.user_code import code_source


def planned_sources(spec: StudySpec) -> dict[str, ImageArrays]:
    """Return the sources by `source_key`; blank images for one that is not here, since a plan downloads nothing."""
    code = code_source(spec)
    return {key: blank_source(data) or load_source(data, code=code) for key, data in _data(spec).items()}


def plan_notes(spec: StudySpec, sources: Mapping[str, ImageArrays]) -> list[str]:
    """Return what to know: data that is not here, models under other names, tensors that decay by name gets wrong."""
    found = notes(spec, sources) if spec.mode == "ablation" else []
    found += [
        f"{data.source} is not downloaded yet: nothing counts as done, and times are those of blank images"
        for data in _data(spec).values()
        if blank_source(data) is not None
    ]
    for arm in make_plan(spec).arms if spec.mode == "ablation" else ():
        wrong = _wrong_by_name(arm.config, sources[source_key(arm.config.data)])
        if wrong:
            found.append(f"arm {arm.name!r}: by_name gets {len(wrong)} tensors wrong: {', '.join(wrong)}")
    return found


def _data(spec: StudySpec) -> dict[str, DataConfig]:
    """Return the data of the arms, or of a search's baseline, by `source_key`."""
    configs = [arm.config for arm in make_plan(spec).arms] if spec.mode == "ablation" else [spec.baseline]
    return {source_key(config.data): config.data for config in configs}


def _wrong_by_name(config: TrialConfig, arrays: ImageArrays) -> list[str]:
    if config.weight_decay_grouping.policy != "by_name" or is_reference(config.model.family):
        return []  # the driver does not import the user's code
    _, side, _, channels = arrays.train_images.shape
    with torch.device("meta"):
        model = build_model(config.model, channels, len(arrays.classes), config.data.resolution or side)
    return list(misnamed(model))
