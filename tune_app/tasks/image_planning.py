"""What a plan of image classification reads and says: data that may not be here yet, notes, the time of an epoch.

The driver imports this module. What needs torch imports it when it is called, or runs in a child process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from search_spaces.config import TrialConfig
from search_spaces.config.base import is_reference
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, blank_source, load_source, source_key
from tune_app.tasks.image_data import data_by_source, data_configs, require_usable
from tune_app.user_code import CodeSource, in_child


def planned_sources(spec: StudySpec, code: CodeSource) -> dict[str, ImageArrays]:
    """Return the sources by `source_key`; StudyError where one cannot be used.

    Blank images are in the place of one that is not here, since a plan downloads nothing.
    """
    configs = data_configs(spec)
    read = data_by_source(spec, configs)
    sources = {key: blank_source(data) or load_source(data, code=code) for key, data in read.items()}
    require_usable(spec, configs, sources)
    return sources


def network_notes(spec: StudySpec, sources: Mapping[str, ImageArrays]) -> list[str]:
    """Return what to know about each arm's network; StudyError, with the arm, where one cannot be built."""
    described = described_networks(spec, sources) if spec.mode == "ablation" else {}
    return list(dict.fromkeys(note for answer in described.values() for note in answer["notes"]))


def described_networks(spec: StudySpec, sources: Mapping[str, ImageArrays]) -> dict[str, Mapping[str, Any]]:
    """Return by arm what `describe_networks` says of its network; StudyError, with the arm, where one cannot be built.

    Networks of the user's own are left out.
    """
    asked: dict[str, str] = {}  # arm -> network
    for arm in make_plan(spec).arms:
        assert isinstance(arm.config, TrialConfig)
        if not is_reference(arm.config.model.family):
            data = arm.config.data
            arrays = sources[source_key(data)]
            _, side, _, channels = arrays.train_images.shape
            model = arm.config.model.model_dump(mode="json")
            asked[arm.name] = json.dumps([model, channels, data.resolution or side, len(arrays.classes)])
    networks = tuple(dict.fromkeys(asked.values()))
    answers = dict(zip(networks, _described(networks), strict=True))
    for arm_name, network in asked.items():
        if "error" in answers[network]:
            raise StudyError(f"arm {arm_name!r} cannot be built: {answers[network]['error']}")
    return {arm_name: answers[network] for arm_name, network in asked.items()}


@lru_cache(maxsize=8)
def _described(networks: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """Describe networks given as JSON: in a child process, unless torch is imported here already."""
    plain = [json.loads(network) for network in networks]
    if "torch" in sys.modules:
        from tune_app.models.registry import describe_networks

        return list(describe_networks(plain))
    return list(in_child("networks", Path(__file__).parents[2], {"networks": plain})) if plain else []


def planning_notes(spec: StudySpec, sources: Mapping[str, ImageArrays]) -> list[str]:
    """Return what to know: data that is not here, tensors that decay by name gets wrong."""
    found = [
        f"{part.source} is not downloaded yet: nothing counts as done, and times are those of blank images"
        for part in data_by_source(spec, data_configs(spec)).values()
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
    from tune_app.training import keep_freed_memory, resolve_device, set_threads
    from tune_app.training.estimate import epoch_seconds

    set_threads(max(1, int(cpus)))
    keep_freed_memory()
    return epoch_seconds(config, arrays, resolve_device("auto" if gpus else "cpu")) * config.epochs


def shape_of(config: TrialConfig) -> str:
    """Return what the time of an epoch depends on."""
    canonical = config.canonical()
    parts = ("data", "model", "augmentation", "batch_size", "precision")
    return repr([canonical[part] for part in parts] + [config.optimizer.name])


def _wrong_by_name(config: TrialConfig, arrays: ImageArrays) -> list[str]:
    if config.weight_decay_grouping.policy != "by_name" or config.references():
        return []
    import torch

    from tune_app.models import build_model
    from tune_app.training import misnamed

    _, side, _, channels = arrays.train_images.shape
    with torch.device("meta"):
        model = build_model(config.model, channels, len(arrays.classes), config.data.resolution or side)
    return list(misnamed(model))
