"""The built-in task: image classifiers. The driver imports this module, and torch only where it has to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search_spaces.config.base import Config, is_reference
from search_spaces.config.trial import TrialConfig
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, load_source, source_key
from tune_app.data.memory import require_memory
from tune_app.tasks.base import EpochReport, TrialSetup
from tune_app.tasks.image_data import data_by_source, data_configs, require_usable
from tune_app.tasks.image_pairing import pairing_notes
from tune_app.tasks.image_planning import network_notes, planned_sources, planning_notes, shape_of, training_seconds
from tune_app.user_code import CodeSource


class ImageClassification:
    """Image classification. The trials share the decoded images of every source, by `source_key`."""

    trainer = "tune_app.tasks.image_training"

    def prepare(self, spec: StudySpec, code: CodeSource) -> dict[str, ImageArrays]:
        """Return the decoded images of every source; StudyError where they do not fit or cannot be used."""
        configs = data_configs(spec)
        sources = {key: load_source(data, code=code) for key, data in data_by_source(spec, configs).items()}
        for key, arrays in sources.items():
            _, height, width, channels = arrays.train_images.shape
            images = len(arrays.train_images) + len(arrays.test_images)
            require_memory(images, height, width, channels, f"`data.source` {key}")
        require_usable(spec, configs, sources)
        return sources

    def fingerprint(self, config: Config, shared: Mapping[str, Any]) -> str:
        """Return the fingerprint of the images."""
        return str(shared[source_key(_image(config).data)].fingerprint)

    def notes(self, spec: StudySpec, shared: Mapping[str, Any]) -> list[str]:
        """Return what to know about each arm's network."""
        return network_notes(spec, shared)

    def plan_shared(self, spec: StudySpec, code: CodeSource) -> dict[str, ImageArrays]:
        """Return the sources, blank images for one that would be downloaded."""
        return planned_sources(spec, code)

    def plan_notes(self, spec: StudySpec, shared: Mapping[str, Any]) -> list[str]:
        """Return what to know about data, decay and the random draws that the arms share."""
        return [*planning_notes(spec, shared), *pairing_notes(spec, shared)]

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
        from tune_app.tasks.image_training import train  # imports torch, which the driver does without

        config = _image(config)
        return train(config, shared[source_key(config.data)], setup)


def _image(config: Config) -> TrialConfig:
    assert isinstance(config, TrialConfig)
    return config
