"""Which images a study reads, and whether its splits and networks can use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice, product
from typing import Any

from search_spaces.config import Config, TrialConfig
from search_spaces.config.base import is_reference
from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, make_splits, source_key

_IMAGES = ("data.source", "data.resolution", "model.family")  # a network may need squares
_SIZES = ("data.train_size", "data.validation_fraction", "data.validation_size", "data.test_size")
MAX_SPLITS = 100
"""Different splits of a study that are tried before it runs: one takes milliseconds."""


def data_configs(spec: StudySpec) -> list[TrialConfig]:
    """Return configs with all data that the trials of a study may have; StudyError as `_image_domains`.

    Of an ablation those of its arms, with the values that they try. Of a search each combination of the fields that
    select images or the network, with the values, or the ends, of the sizes of its splits in turn.
    """
    configs = make_plan(spec).configs() if spec.mode == "ablation" else _searched(spec)
    return [config for config in configs if isinstance(config, TrialConfig)]


def data_by_source(spec: StudySpec, configs: Sequence[TrialConfig]) -> dict[str, DataConfig]:
    """Return the data of every source that a study reads, by `source_key`: a search reads its baseline's, too."""
    found = [config.data for config in configs]
    if spec.mode == "search" and isinstance(spec.baseline, TrialConfig):
        found.append(spec.baseline.data)
    return {source_key(data): data for data in found}


def require_usable(spec: StudySpec, configs: Sequence[TrialConfig], sources: Mapping[str, ImageArrays]) -> None:
    """Raise StudyError where a network needs other images, or where those of the first seed cannot be split."""
    for config in configs:
        _require_square(config, sources[source_key(config.data)])
    different = {
        (source_key(config.data), config.data.model_copy(update={"resolution": None}).model_dump_json()): config.data
        for config in configs
    }
    for data in islice(different.values(), MAX_SPLITS):
        make_splits(sources[source_key(data)], data, spec.seeds[0])


def _require_square(config: TrialConfig, arrays: ImageArrays) -> None:
    """Refuse images that are not square for a network that is built for one side: a cnn, or one that is not ours."""
    _, height, width, _ = arrays.train_images.shape
    family = config.model.family
    if height != width and config.data.resolution is None and (family == "cnn" or is_reference(family)):
        raise StudyError(
            f"`data.resolution` is null and the images of {config.data.source} are {height} pixels high and {width} "
            f"wide, but `model.family` {family} is built for squares; set `data.resolution`, for example to "
            f"{min(height, width)}"
        )


def _searched(spec: StudySpec) -> list[Config]:
    space, images = spec.search_space(), _image_domains(spec)
    configs: list[Config] = []
    sizes = {path: domain.edges() for path, domain in space.domains.items() if path in _SIZES}
    for values in product(*(domain.grid() for domain in images.values())):
        for turn in range(max(map(len, sizes.values()), default=1)):
            chosen = {path: ends[turn % len(ends)] for path, ends in sizes.items()}
            with suppress(StudyError):  # the search leaves it out, too
                configs.append(space.config(chosen | dict(zip(images, values, strict=True))))
    return configs


def _image_domains(spec: StudySpec) -> Mapping[str, Any]:
    """Return the domains of a search that select its images or network; StudyError for a continuous one."""
    found = {p: d for p, d in spec.search_space().domains.items() if p in _IMAGES or p.startswith("data.args.")}
    for path, domain in found.items():
        if domain.size is None:
            raise StudyError(
                f"`space.{path}` is continuous, but each of its values may select other images, which are read before "
                "the search begins; list the values: [a, b, c]"
            )
    return found
