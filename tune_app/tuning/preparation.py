"""What a run needs to know before anything is trained: sources, missing cells, notes, the study as it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from search_spaces.config.trial import TrialConfig
from search_spaces.errors import StudyError
from search_spaces.plan import Cell, make_plan
from search_spaces.store_schema import key
from search_spaces.study import StudySpec
from tune_app.data import ImageArrays, load_source, source_key
from tune_app.models import model_notes
from tune_app.training import LAST, CorruptCheckpoint, read_checkpoint
from tune_app.tuning.store.writer import ResultsStore
from tune_app.user_code import code_source


def load_sources(spec: StudySpec) -> dict[str, ImageArrays]:
    """Return the decoded sources of all arms by `source_key`."""
    configs = [arm.config for arm in make_plan(spec).arms] if spec.mode == "ablation" else search_configs(spec)
    by_key = {source_key(config.data): config.data for config in configs}
    code = code_source(spec)
    return {key: load_source(data, code=code) for key, data in by_key.items()}


def search_configs(spec: StudySpec) -> list[TrialConfig]:
    """Return configs that name every source a search may read: the baseline, and each level of `data` fields."""
    space = spec.search_space()
    data = {path: domain for path, domain in space.domains.items() if path.startswith("data.")}
    return [spec.baseline, *(space.config({path: v}) for path, domain in data.items() for v in domain.edges())]


def missing_cells(spec: StudySpec, store: ResultsStore, sources: Mapping[str, ImageArrays]) -> list[Cell]:
    """Return the cells of an ablation that the store does not hold, for the data as it is now."""
    finished = store.finished()
    return [
        cell
        for cell in make_plan(spec).cells
        if (cell.digest, sources[source_key(cell.config.data)].fingerprint) not in finished
    ]


def cut_off(store: ResultsStore) -> list[tuple[TrialConfig, str]]:
    """Return (config, fingerprint) of the trials that have a checkpoint to go on from and no row."""
    ended = {key(trial.digest, trial.fingerprint) for trial in store.trials()}
    found = []
    for name in (store.folder / "checkpoints").names():
        if name in ended:
            continue
        try:
            payload = read_checkpoint(f"{store.checkpoints_url}/{name}", LAST, torch.device("cpu"))
        except (FileNotFoundError, CorruptCheckpoint):
            continue
        found.append((TrialConfig.model_validate(payload["config"]), str(payload["fingerprint"])))
    return found


def notes(spec: StudySpec, sources: Mapping[str, ImageArrays]) -> list[str]:
    """Return what a reader should know about the arms of an ablation; StudyError where a model cannot be built."""
    found: list[str] = []
    for arm in make_plan(spec).arms:
        arrays = sources[source_key(arm.config.data)]
        resolution = arm.config.data.resolution or arrays.train_images.shape[1]
        try:
            found += model_notes(arm.config.model, arrays.train_images.shape[3], resolution)
        except StudyError as error:
            raise StudyError(f"arm {arm.name!r} cannot be built: {error}") from None
    return list(dict.fromkeys(found))


def study_as_run(spec: StudySpec) -> dict[str, Any]:
    """Return a study as plain data for the store, its reference arm named."""
    tree = spec.model_dump(mode="json", exclude={"sizes"})
    if spec.mode == "ablation":
        tree["reference_arm"] = make_plan(spec).reference_arm
    return tree


def objective(spec: StudySpec) -> tuple[str, str]:
    """Return the column that choices are made by, and max or min: the study's metric on the validation split."""
    name = "val_" + spec.metric.split("_", 1)[1]
    return name, "min" if name.endswith("loss") else "max"
