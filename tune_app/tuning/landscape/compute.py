"""Loss landscapes on Ray: what the store lacks of them is computed, a row of a grid to a task, and nothing else.

Rows of a grid are written as they come, each a file of its own named by the trial, the surface and the row, so that an
interrupted run goes on where it was. A worker process takes a model and its images once and keeps them from row to row.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tune_app.tuning.session import ray_session  # isort: skip  (before Ray)

import ray
from pydantic import ValidationError

from search_spaces._yaml import mapping_in, parse_stored
from search_spaces.config import config_from
from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError, explain
from search_spaces.store_schema import key
from search_spaces.study_parts import Resources
from tune_app.data import ImageArrays, load_source, source_key
from tune_app.training.landscape import evaluation_images, read_best
from tune_app.tuning.code_versions import stored_code
from tune_app.tuning.interruption import termination_is_interruption
from tune_app.tuning.landscape.chosen import chosen_trials, current_arms
from tune_app.tuning.landscape.progress import LandscapeProgress
from tune_app.tuning.landscape.task import SurfaceSpec, landscape_part
from tune_app.tuning.resources import cluster_resources, gpu_share
from tune_app.tuning.store.locks import hold
from tune_app.tuning.store.writer import ResultsStore, Stored, parquet_bytes
from tune_app.user_code import CodeSource, code_folder, is_adapter

TABLES = ("landscape", "curvature")


@dataclass(frozen=True)
class Landscape:
    """One trial's landscape and what the store lacks of it."""

    trial: Stored
    spec: SurfaceSpec
    rows: tuple[int, ...]
    curvature: bool

    @property
    def stem(self) -> str:
        """How the names of its files begin."""
        return f"{key(self.trial.digest, self.trial.fingerprint)}-{self.spec.name}"

    def file(self, row: int | None) -> str:
        """Return the file of a row of the grid, or of the curvature for None."""
        return f"curvature/{self.stem}.parquet" if row is None else f"landscape/{self.stem}-y{row:04d}.parquet"

    @property
    def jobs(self) -> list[int | None]:
        """Return what is to be computed: rows, and None for the curvature; that first, for it takes longest."""
        return [*([None] if self.curvature else []), *self.rows]


@dataclass
class LandscapeSummary:
    """What a run did: points computed now and found in the store, and models."""

    store: str
    surface: str
    computed: int = 0
    already: int = 0
    curvatures: int = 0
    models: int = 0
    seconds: float = 0.0


def compute_landscapes(
    study: str,
    results: str = "results",
    spec: SurfaceSpec | None = None,
    *,
    cell: str | None = None,
    all_seeds: bool = False,
    address: str | None = None,
) -> LandscapeSummary:
    """Compute the loss landscape around the best model of each arm where the store lacks it, and say what was done.

    ``study`` names a store in ``results``. Of each arm its first completed seed, or all with ``all_seeds``, or the one
    trial whose digest begins with ``cell``. The arms are those of the study as it was last run, in a tuned ablation by
    their final trainings. Raises StudyError where there is no such trial or no checkpoint of it, where its data has
    changed, or where another run holds the store.
    """
    began, spec = time.monotonic(), spec or SurfaceSpec()
    store = ResultsStore(results, study)
    with termination_is_interruption(), hold(store.folder):
        there = {f"{table}/{name}" for table in TABLES for name in (store.folder / table).names(".parquet")}
        arms = current_arms(store) if cell is None else None
        trials = chosen_trials(store.trials(), cell, all_seeds, arms)
        landscapes = [_missing(there, trial, spec) for trial in trials]
        found = sum(spec.points - len(landscape.rows) for landscape in landscapes)
        summary = LandscapeSummary(store.folder.url, spec.name, already=found * spec.points, models=len(landscapes))
        missing = [landscape for landscape in landscapes if landscape.jobs]
        if missing:
            with ray_session(address):
                _compute(store, missing, summary, _gpus(store, address, trials))
    summary.seconds = time.monotonic() - began
    return summary


def _missing(there: Collection[str], trial: Stored, spec: SurfaceSpec) -> Landscape:
    every = Landscape(trial, spec, tuple(range(spec.points)), True)
    rows = tuple(row for row in every.rows if every.file(row) not in there)
    return Landscape(trial, spec, rows, every.file(None) not in there)


def _gpus(store: ResultsStore, address: str | None, trials: Sequence[Stored]) -> float:
    """Return the share of a GPU for each worker, as the study's trials had it."""
    place = store.folder.path("study.yaml")
    tree = mapping_in(parse_stored(store.folder.read("study.yaml"), place), place, "the study's keys")
    try:
        resources = Resources.model_validate(tree.get("resources") or {})
    except ValidationError as error:
        raise StudyError(f"{place}: {explain(error)}") from None
    before = max(trial.gpus or 0.0 for trial in trials)
    own = resources.model_copy(update={"cpu": 1.0})
    return gpu_share(own, cluster_resources(), autoscaling=address is not None, before=before)


def _compute(store: ResultsStore, landscapes: Sequence[Landscape], summary: LandscapeSummary, gpus: float) -> None:
    """Compute all that is missing, writing each part as it comes."""
    progress = LandscapeProgress(sum(len(landscape.rows) * landscape.spec.points for landscape in landscapes))
    tasks = dict(_tasks(store, landscapes, gpus))
    with progress:
        while tasks:
            done, _ = ray.wait(list(tasks), num_returns=1)
            for task in done:
                landscape, row = tasks.pop(task)
                _write(store, landscape, row, ray.get(task))
                points = 0 if row is None else landscape.spec.points
                summary.computed += points
                summary.curvatures += row is None
                progress.advance(points, f"{landscape.trial.arm}, seed {landscape.trial.seed}")


def _tasks(
    store: ResultsStore, landscapes: Sequence[Landscape], gpus: float
) -> Iterator[tuple[Any, tuple[Landscape, int | None]]]:
    """Start a task for each missing part; models and images are put into Ray's object store once each.

    Networks and images of the user's own come from the version of the code that the trial was trained with.
    """
    # A process is used again by the next task, on a GPU too, so that it keeps its model and images.
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=0)(landscape_part)
    codes: dict[str | None, CodeSource] = {}
    arrays: dict[tuple[str, str | None], ImageArrays] = {}
    images: dict[tuple[tuple[str, str | None], str, int | None], Any] = {}
    for landscape in landscapes:
        trial, spec = landscape.trial, landscape.spec
        config = config_from(trial.config, stored=True)
        assert isinstance(config, TrialConfig)
        if trial.code not in codes:
            codes[trial.code] = stored_code(store, trial.code)
        code, source = codes[trial.code], (source_key(config.data), trial.code)
        if source not in arrays:
            arrays[source] = load_source(config.data, code=_for_images(config, code))
        model = read_best(_checkpoints(store, trial), config, arrays[source], _chosen(trial))
        seed = config.seed if config.data.split == "per_seed" else None  # of the split, and so of the normalization
        same_images = (source, config.data.model_dump_json(), seed)
        if same_images not in images:
            images.clear()  # the tasks hold what they still need
            images[same_images] = ray.put(evaluation_images(config, arrays[source], spec.split, spec.images))
        refs = (ray.put(model), images[same_images], ray.put(code))
        stream = "" if spec.shared else trial.digest
        # A process imports one version of the user's code: an environment of its own for each keeps them apart.
        own = remote.options(runtime_env={"env_vars": {"TUNE_APP_CODE": trial.code}}) if trial.code else remote
        for job in landscape.jobs:
            yield own.remote(refs, spec, stream, job), (landscape, job)


def _for_images(config: TrialConfig, code: CodeSource) -> CodeSource:
    """Return the code for reading images: unpacked where they come from a function of the user."""
    return code if is_adapter(config.data.source) else replace(code, root=code_folder(code))


def _chosen(trial: Stored) -> tuple[int, float] | None:
    """Return the best epoch of a row and the value that chose it; None for a row that lacks one of them."""
    value = trial.metrics.get(trial.choose_by or "val_accuracy")
    return None if trial.best_epoch is None or value is None else (trial.best_epoch, value)


def _checkpoints(store: ResultsStore, trial: Stored) -> str:
    return f"{store.checkpoints_url}/{key(trial.digest, trial.fingerprint)}"


def _write(store: ResultsStore, landscape: Landscape, row: int | None, found: Sequence[Mapping[str, Any]]) -> None:
    trial = landscape.trial
    keys = {"digest": trial.digest, "fingerprint": trial.fingerprint, "surface": landscape.spec.name}
    name = landscape.file(row)
    store.folder.write(name, parquet_bytes(name.split("/", 1)[0], [keys | dict(part) for part in found]))
