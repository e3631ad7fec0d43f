"""The built-in task: image classifiers. The driver imports this module, and torch only where it has to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from search_spaces.config.base import Config, is_reference
from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, load_source, source_key
from tune_app.data.memory import require_memory
from tune_app.tasks.base import EpochReport, TrialSetup
from tune_app.tasks.image_pairing import pairing_notes
from tune_app.tasks.image_planning import network_notes, planned_sources, planning_notes, shape_of, training_seconds
from tune_app.user_code import CodeSource


class ImageClassification:
    """Image classification. The trials share the decoded images of every source, by `source_key`."""

    trainer = "tune_app.tasks.image_training"

    def prepare(self, spec: StudySpec, code: CodeSource) -> dict[str, ImageArrays]:
        """Return the decoded sources of all arms."""
        configs: Iterable[Config] = make_plan(spec).configs() if spec.mode == "ablation" else _searched(spec)
        by_key = {source_key(_image(config).data): _image(config).data for config in configs}
        sources = {key: load_source(data, code=code) for key, data in by_key.items()}
        for key, arrays in sources.items():
            _, height, width, channels = arrays.train_images.shape
            images = len(arrays.train_images) + len(arrays.test_images)
            require_memory(images, height, width, channels, f"`data.source` {key}")
        return sources

    def fingerprint(self, config: Config, shared: Mapping[str, Any]) -> str:
        """Return the fingerprint of the images."""
        return str(shared[source_key(_image(config).data)].fingerprint)

    def notes(self, spec: StudySpec, shared: Mapping[str, Any]) -> list[str]:
        """Return what to know about each arm's network."""
        return network_notes(spec, shared)

    def plan_shared(self, spec: StudySpec, code: CodeSource) -> dict[str, ImageArrays]:
        """Return the sources, blank images for one that would be downloaded."""
        if spec.mode == "search":
            _image_domains(spec)
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


def _searched(spec: StudySpec) -> Iterator[Config]:
    """Yield configs that name every source a search may read: the baseline, and each combination of image fields."""
    yield spec.baseline
    space, domains = spec.search_space(), _image_domains(spec)
    for values in product(*(domain.grid() for domain in domains.values())):
        try:
            config = space.config(dict(zip(domains, values, strict=True)))
        except StudyError:
            continue  # the search leaves it out, too
        yield config


def _image_domains(spec: StudySpec) -> Mapping[str, Any]:
    """Return the domains of a search that select its images; StudyError for a continuous one."""
    names, arguments = ("data.source", "data.resolution"), "data.args."
    found = {p: d for p, d in spec.search_space().domains.items() if p in names or p.startswith(arguments)}
    for path, domain in found.items():
        if domain.size is None:
            raise StudyError(
                f"`space.{path}` is continuous, but each of its values may select other images, which are read before "
                "the search begins; list the values: [a, b, c]"
            )
    return found


def _image(config: Config) -> TrialConfig:
    assert isinstance(config, TrialConfig)
    return config
