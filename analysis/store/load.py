"""The results store as data frames: everything that can be read, and in words what cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import yaml

from analysis.store._rows import rows_of
from analysis.store._tables import (
    FILE,
    Problems,
    is_there,
    json_columns,
    open_filesystem,
    positions,
    read_table,
    trial_keys,
)
from search_spaces.errors import StudyError
from search_spaces.store_schema import SCHEMA_VERSION, STATUSES, TABLES

FACTOR = "factor:"
"""Prefix of the trials columns that hold the level of each factor."""


@dataclass(frozen=True)
class StudyResults:
    """One study's results store, as read.

    ``trials`` has the columns of `store_schema.TRIALS`, one for each field of the trial config by its dotted path
    (``model.norm``; where the table has a column of that name, such as ``seed``, the table's stands) and one
    ``factor:<name>`` for each factor. The other tables have the store's columns and the trial's ``arm``, ``seed`` and
    ``status``. ``problems`` says in words what could not be read or was passed over.
    """

    name: str
    spec: Mapping[str, Any]
    environment: Mapping[str, Any]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    quantiles: pd.DataFrame
    landscape: pd.DataFrame
    curvature: pd.DataFrame
    problems: tuple[str, ...]

    @property
    def metric(self) -> str:
        """The trials column that the study's verdicts are about."""
        return str(self.spec.get("metric") or "test_accuracy")

    def rope(self, metric: str | None = None) -> float | None:
        """Return the study's region of practical equivalence, where it is in the unit of ``metric``; else None."""
        rope = self.spec.get("rope")
        in_its_unit = metric is None or metric.endswith("_loss") == self.metric.endswith("_loss")
        return float(rope) if rope and in_its_unit else None

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, as the study orders them."""
        found = [column.removeprefix(FACTOR) for column in self.trials.columns if column.startswith(FACTOR)]
        order = list(self.spec.get("factors") or self.spec.get("space") or [])
        return tuple(sorted(found, key=lambda name: order.index(name) if name in order else len(order)))

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, the baseline first, then as the trials table has them."""
        return tuple(dict.fromkeys(self.trials["arm"]))

    @property
    def reference_arm(self) -> str:
        """The arm that the others are compared with: the study's own choice, else the baseline, else the first."""
        chosen = self.spec.get("reference_arm")
        if chosen in self.arms:
            return str(chosen)
        baseline = self.trials.loc[self.trials["is_baseline"].fillna(False).astype(bool), "arm"]
        if len(baseline) or self.arms:
            return str(baseline.iloc[0] if len(baseline) else self.arms[0])
        raise StudyError(f"study {self.name!r} has no trials yet, so there is no arm to compare with; run it first")


def load_study(path: str | Path) -> StudyResults:
    """Return the results store at ``path``: a folder, ``file://`` or a URL that fsspec knows, such as ``s3://``.

    Rows of a trial that has none in ``trials`` are left out: it is still running or was cut off. Of rows for one
    trial, of one digest trained on two versions of the data, and of one ablation cell trained with two configs, the
    one finished last counts. Raises StudyError where there is no store; anything less is told in ``problems``.
    """
    filesystem, root = open_filesystem(str(path).rstrip("/"))
    if not is_there(filesystem, root):
        raise StudyError(f"{path}: there is no such folder of results; give the folder that holds `trials`")
    problems = Problems()
    spec = _read_mapping(filesystem, root, "study.yaml", problems)
    raw = read_table(filesystem, root, "trials", problems)
    if not raw.num_rows:
        problems.add("table `trials` is missing or empty: no trial has finished yet")
    trials = _trials(raw, problems)
    seen = set(trial_keys(raw).to_pylist())
    others = {
        name: _joined(read_table(filesystem, root, name, problems), name, trials, seen, problems)
        for name in TABLES
        if name != "trials"
    }
    return StudyResults(
        name=str(spec.get("name") or Path(root).name),
        spec=spec,
        environment=_read_mapping(filesystem, root, "environment.json", problems),
        trials=_expanded(trials, problems),
        **others,
        problems=problems.sentences(),
    )


def _read_mapping(filesystem: pafs.FileSystem, root: str, name: str, problems: Problems) -> Mapping[str, Any]:
    if not is_there(filesystem, f"{root}/{name}"):
        problems.add(f"{name} is missing")
        return {}
    with filesystem.open_input_stream(f"{root}/{name}") as stream:
        text = stream.read()
    try:
        found = yaml.safe_load(text) if name.endswith(".yaml") else json.loads(text)
    except (yaml.YAMLError, ValueError) as error:
        problems.add(f"{name} cannot be read: {str(error).splitlines()[0]}")
        return {}
    if not isinstance(found, dict):
        problems.add(f"{name} cannot be read: it holds no mapping")
        return {}
    return found


def _trials(raw: pa.Table, problems: Problems) -> pd.DataFrame:
    """Return one row per cell: the one finished last, baseline first, then by arm (numbers in order) and seed."""
    trials = raw.to_pandas()
    keyed = trials[["digest", "fingerprint", "arm", "seed"]].notna().all(axis=1)
    if not keyed.all():
        problems.add(f"{(~keyed).sum()} rows of `trials` lack digest, fingerprint, arm or seed and were left out")
    trials = trials[keyed].sort_values(["finished_at", FILE], kind="stable", na_position="first")
    trials = trials.astype({"seed": "int64"})
    columns = [name for name in trials.columns if name not in (FILE, "test_confusion", "classes")]
    repeated = trials.drop_duplicates(columns).duplicated(["digest", "fingerprint"])
    if repeated.any():
        problems.add(f"{repeated.sum()} trials have a second row with other figures: the one finished last counts")
    trials = _latest(trials, ["digest", "fingerprint"], None, problems)
    trials = _latest(
        trials, ["digest"], "has results on two versions of the data: the one finished last counts", problems
    )
    _check(trials, problems)
    is_cell = trials["mode"] != "search"
    cells = _latest(
        trials[is_cell], ["arm", "seed"], "was trained with two trial configs: the one finished last counts", problems
    )
    trials = pd.concat([cells, trials[~is_cell]]) if (~is_cell).any() else cells
    rank = {arm: place for place, arm in enumerate(sorted(set(trials["arm"]), key=_natural))}
    order = np.lexsort((trials["seed"], trials["arm"].map(rank), trials["is_baseline"] != True))  # noqa: E712
    return trials.drop(columns=FILE).iloc[order].reset_index(drop=True)


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Return a sort key by which ``batch_size=8`` comes before ``batch_size=16``."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", name)
    return [(0, float(part), "") if part[0].isdigit() else (1, 0.0, part) for part in parts]


def _latest(trials: pd.DataFrame, keys: list[str], sentence: str | None, problems: Problems) -> pd.DataFrame:
    dropped = trials.duplicated(keys, keep="last")
    if sentence:
        for row in rows_of(trials[dropped]):
            problems.add(f"a cell {sentence}", f"{row.arm}, seed {row.seed}")
    return trials[~dropped]


def _check(trials: pd.DataFrame, problems: Problems) -> None:
    versions = sorted(set(trials["schema_version"].dropna().astype(int)))
    if set(versions) - {SCHEMA_VERSION}:
        problems.add(
            f"rows have schema versions {', '.join(map(str, versions))}, but this release knows {SCHEMA_VERSION}: "
            "columns that changed their meaning would be misread"
        )
    for row in rows_of(trials[~trials["status"].isin(STATUSES)]):
        problems.add(f"a trial has the unknown status {row.status!r}", f"{row.arm}, seed {row.seed}")


def _joined(raw: pa.Table, name: str, trials: pd.DataFrame, seen: set[str], problems: Problems) -> pd.DataFrame:
    """Return the table's rows whose trial counts, in the order of ``trials``, with arm, seed and status."""
    keys = trials["digest"] + "-" + trials["fingerprint"]
    position = positions(raw, keys)
    unknown = set(trial_keys(raw.filter(position < 0)).unique().to_pylist()) - seen
    if unknown:
        problems.add(f"{len(unknown)} trials have rows in `{name}` but none in `trials` (unfinished): left out")
    columns = [column for column in raw.column_names if column not in ("digest", "fingerprint", FILE)]
    frame = raw.select(columns).to_pandas(split_blocks=True).assign(_trial=position)
    frame = _in_order(frame if (position >= 0).all() else frame[position >= 0])
    identity = ["_trial", *(f.name for f in TABLES[name] if not f.nullable and f.name in columns)]
    if (frame[_order_of(frame)].diff() == 0).all(axis=1).any():
        frame = frame[~frame.duplicated(identity, keep="last")]
    of_trial = frame.pop("_trial").to_numpy()
    for place, column in enumerate(("digest", "fingerprint")):
        frame.insert(place, column, trials[column].take(of_trial).array)
    for column in ("arm", "seed", "status"):
        frame[column] = trials[column].take(of_trial).array
    joined: pd.DataFrame = frame.reset_index(drop=True)
    return joined


def _order_of(frame: pd.DataFrame) -> list[str]:
    return [column for column in ("_trial", "epoch") if column in frame.columns]


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows by trial and epoch, otherwise as they were."""
    order = np.lexsort([frame[column] for column in reversed(_order_of(frame))])
    return frame if (np.diff(order) == 1).all() else frame.iloc[order]


def _expanded(trials: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """Add a column for each config field and each factor."""
    configs, levels = [], []
    for row in rows_of(trials[["config", "levels", "arm", "seed"]]):
        place = f"{row.arm}, seed {row.seed}"
        configs.append(_from_json(row.config, "config", place, problems))
        levels.append(_from_json(row.levels, "levels", place, problems))
    fields = {name: values for name, values in json_columns(configs).items() if name not in trials.columns}
    factors = {FACTOR + name: values for name, values in json_columns(levels).items()}
    return pd.concat([trials, pd.DataFrame(fields | factors, index=trials.index)], axis=1)


def _from_json(text: str, column: str, place: str, problems: Problems) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    if isinstance(found, dict):
        return found
    problems.add(f"`{column}` of a trial is not a JSON object, so its fields are empty", place)
    return {}
