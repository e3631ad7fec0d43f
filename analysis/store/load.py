"""Reads a results store into data frames: everything that can be read, and a sentence for what cannot."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from analysis.store._rows import rows_of
from analysis.store._tables import (
    FILE,
    Problems,
    is_there,
    json_columns,
    open_filesystem,
    positions,
    read_document,
    read_table,
    trial_keys,
)
from analysis.store.cells import json_object, select_cells
from analysis.store.results import FACTOR, StudyResults
from search_spaces._yaml import mapping_in, parse_json, parse_stored
from search_spaces.errors import StudyError
from search_spaces.rounds import ROUNDS_FILE, Round, rounds_from_json
from search_spaces.store_schema import CONFIRMATION, TABLES, key
from search_spaces.study import StudySpec
from search_spaces.study_files import study_from_store

__all__ = ["FACTOR", "StudyResults", "load_study"]


def load_study(path: str | Path, tables: Collection[str] = tuple(TABLES)) -> StudyResults:
    """Return the results store at ``path``: a folder, ``file://`` or a URL that fsspec knows, such as ``s3://``.

    Which arm a row belongs to follows from its digest and the study as ``study.yaml`` has it now; rows of other cells
    are in ``other``. Of several versions of the data for one cell, the one that most cells of the study have counts
    (then the one written last). Rows of a trial that has none in ``trials`` are left out: it is still running or was
    interrupted. ``tables`` names the tables that are read beside ``trials``; the others are empty. Raises StudyError
    where there is no store, or one of a newer schema version; anything less is described in ``problems``.
    """
    filesystem, root = open_filesystem(str(path).rstrip("/"))
    if not is_there(filesystem, root):
        raise StudyError(f"{path}: there is no such folder of results; give the folder that holds `trials`")
    problems = Problems()
    text = read_document(filesystem, root, "study.yaml", problems)
    spec, name = _read_spec(text, problems)
    metrics = [*spec.metric_records(), spec.metric, spec.choose_by_metric()] if spec is not None else []
    raw = read_table(filesystem, root, "trials", metrics, problems)
    if not raw.num_rows:
        problems.add("table `trials` is missing or empty: no trial has finished yet")
    found = select_cells(raw, spec, str(path), problems)
    seen = set(trial_keys(raw).to_pylist())
    others = {
        table: _joined(read_table(filesystem, root, table, metrics, problems), table, found.current, seen, problems)
        if table in tables
        else pd.DataFrame(columns=[*(field.name for field in TABLES[table]), "arm", "seed", "status"])
        for table in TABLES
        if table != "trials"
    }
    return StudyResults(
        name=name or Path(root).name,
        spec=spec,
        environment=_read_json(filesystem, root, "environment.json", problems),
        trials=_expanded(found.current, problems),
        **others,
        other=found.other,
        tuning=_expanded(found.tuning, problems),
        planned_reference=found.reference,
        study_text=text,
        rounds=_read_rounds(filesystem, root, problems),
        problems=problems.sentences(),  # last: all of the above may add some
    )


def load_confirmation(path: str | Path) -> StudyResults | None:
    """Return the results of ``<path>-confirm``, which confirm those of the search at ``path``; None where none are."""
    place = f"{str(path).rstrip('/')}{CONFIRMATION}"
    filesystem, root = open_filesystem(place)
    return load_study(place) if is_there(filesystem, f"{root}/study.yaml") else None


def _read_rounds(filesystem: pafs.FileSystem, root: str, problems: Problems) -> tuple[Round, ...]:
    """Return the study's rounds; none where the store was written before they were kept, or cannot be read."""
    text = read_document(filesystem, root, ROUNDS_FILE, problems, optional=True)
    try:
        return rounds_from_json(text) if text else ()
    except StudyError as error:
        problems.add(f"{error}: whether seeds were added after results could be seen is not known")
        return ()


def _read_spec(text: str, problems: Problems) -> tuple[StudySpec | None, str]:
    """Return the study and its name; None where study.yaml is missing or not a study of this release."""
    if not text:
        return None, ""
    name = ""
    try:
        tree = mapping_in(parse_stored(text.encode(), "study.yaml"), "study.yaml", "`name`, `baseline` and `factors`")
        name = str(tree.get("name") or "")
        return study_from_store(tree), name
    except StudyError as error:
        reason = str(error).splitlines()[0].removeprefix("study.yaml: ")
        problems.add(f"study.yaml cannot be used ({reason}): arms have the names that their rows were stored with")
        return None, name


def _read_json(filesystem: pafs.FileSystem, root: str, name: str, problems: Problems) -> Mapping[str, Any]:
    text = read_document(filesystem, root, name, problems)
    try:
        found = parse_json(text, name) if text else {}
    except StudyError as error:
        problems.add(f"{name} cannot be read: {str(error).removeprefix(name + ': ')}")
        return {}
    if not isinstance(found, dict):
        problems.add(f"{name} cannot be read: it is not a mapping")
        return {}
    return found


def _joined(raw: pa.Table, name: str, trials: pd.DataFrame, seen: set[str], problems: Problems) -> pd.DataFrame:
    """Return the table's rows whose trial counts, in the order of ``trials``, with arm, seed and status."""
    keys = trials["digest"] + "-" + trials["fingerprint"]
    position = positions(raw, keys)
    unknown = set(trial_keys(raw.filter(position < 0)).unique().to_pylist()) - seen
    if unknown:
        problems.add(f"{len(unknown)} trials have rows in `{name}` but none in `trials` (unfinished): left out")
    raw, position = _of_the_same_run(raw, position, name, trials, problems)
    columns = [column for column in raw.column_names if column not in ("digest", "fingerprint", "run_id", FILE)]
    raw = raw.select(columns)  # so that the memory of each column is freed as soon as it is in the frame
    frame = raw.to_pandas(split_blocks=True, self_destruct=True)
    del raw
    frame["_trial"] = position
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


def _of_the_same_run(
    raw: pa.Table, position: np.ndarray, name: str, trials: pd.DataFrame, problems: Problems
) -> tuple[pa.Table, np.ndarray]:
    """Return the rows, and their positions in ``trials``, without those that another run wrote than the trial's row.

    Where a trial was trained again, rows of both runs may be there. A trial that has only rows of another run is
    damaged. Rows without ``run_id`` are of an earlier release.
    """
    if "run_id" not in raw.column_names or not len(trials):
        return raw, position
    expected = pa.array(trials["run_id"], pa.string()).take(pa.array(np.maximum(position, 0)))
    differs = pc.fill_null(pc.not_equal(raw["run_id"], expected), False).to_numpy() & (position >= 0)
    if not differs.any():
        return raw, position
    for lost in np.setdiff1d(position[differs], position[~differs]):
        place = f"{name}/{key(trials['digest'].iloc[lost], trials['fingerprint'].iloc[lost])}.parquet"
        problems.add(f"rows of `{name}` were written by another run than their trial's own row: left out", place)
    return raw.filter(pa.array(~differs)), position[~differs]


def _order_of(frame: pd.DataFrame) -> list[str]:
    return [column for column in ("_trial", "epoch") if column in frame.columns]


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows by trial and epoch, otherwise as they were."""
    in_order = np.ones(max(len(frame) - 1, 0), bool)
    for column in reversed(_order_of(frame)):
        steps = np.diff(frame[column].to_numpy())
        in_order = (steps > 0) | ((steps == 0) & in_order)
    if in_order.all():
        return frame
    return frame.iloc[np.lexsort([frame[column] for column in reversed(_order_of(frame))])]


def _expanded(trials: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """Add a column for each config field and each factor."""
    configs, levels = [], []
    of_arm: dict[str, dict[str, Any]] = {}
    for row in rows_of(trials[["config", "levels", "arm", "seed"]]):
        place = f"{row.arm}, seed {row.seed}"
        configs.append(_from_json(row.config, "config", place, problems))
        found = of_arm.get(row.levels) or _from_json(row.levels, "levels", place, problems)
        of_arm[row.levels] = found
        levels.append(found)
    fields = {name: values for name, values in json_columns(configs).items() if name not in trials.columns}
    factors = {FACTOR + name: values for name, values in json_columns(levels).items()}
    return pd.concat([trials, pd.DataFrame(fields | factors, index=trials.index)], axis=1)


def _from_json(text: str, column: str, place: str, problems: Problems) -> dict[str, Any]:
    found = json_object(text)
    if found is None:
        problems.add(f"`{column}` of a trial is not a JSON object, so its fields are empty", place)
    return found or {}
