"""Which images a study reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from search_spaces.config import Config, TrialConfig
from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study import StudySpec
from tune_app.data import source_key


def data_by_source(spec: StudySpec) -> dict[str, DataConfig]:
    """Return the data of every source that a study may read, by `source_key`; StudyError as `_image_domains`.

    An ablation reads those of its arms with the values that they try, a search those of the baseline and of each
    combination of the fields that select images.
    """
    configs: Iterable[Config] = make_plan(spec).configs() if spec.mode == "ablation" else _searched(spec)
    data = [config.data for config in configs if isinstance(config, TrialConfig)]
    return {source_key(part): part for part in data}


def _searched(spec: StudySpec) -> Iterator[Config]:
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
