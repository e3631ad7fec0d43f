"""Which rows of the trials table count: one for each cell of the study as it is now; the rest is kept apart."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.store._rows import rows_of
from analysis.store._tables import FILE, Problems
from analysis.store.identity import Identity, Row, identify, why_other
from analysis.store.tuned import choose_finals
from search_spaces._yaml import parse_json
from search_spaces.data_versions import Trained, of_one_version
from search_spaces.errors import StudyError
from search_spaces.store_schema import STATUSES, check_version
from search_spaces.study import StudySpec

PLACE = {"repeat": "int64", "trial": "int64", "is_final": "bool"}
"""Columns of a row's place in a tuned ablation."""
_NOWHERE = Identity("", {}, False)


@dataclass(frozen=True)
class Cells:
    """The rows of ``trials``: those of the current study, the others, the reference arm.

    ``tuning``: of a tuned ablation, the trials of the search inside each arm; they are not in ``current``.
    """

    current: pd.DataFrame
    tuning: pd.DataFrame
    other: pd.DataFrame
    reference: str | None


def select_cells(raw: pa.Table, spec: StudySpec | None, place: str, problems: Problems) -> Cells:
    """Return one row per cell, the baseline first, then by arm (numbers in order) and seed."""
    trials = raw.to_pandas()
    check_version(trials["schema_version"].dropna().astype(int), place)
    keyed = trials[["digest", "fingerprint", "arm", "seed"]].notna().all(axis=1)
    if not keyed.all():
        problems.add(f"{(~keyed).sum()} rows of `trials` lack digest, fingerprint, arm or seed and were left out")
    trials = _one_row_per_trial(trials[keyed].astype({"seed": "int64"}), problems)
    for row in rows_of(trials[~trials["status"].isin(STATUSES)]):
        problems.add(f"a trial has the unknown status {row.status!r}", f"{row.arm}, seed {row.seed}")
    trials = trials.assign(why="")
    reference = None
    if spec is None:
        trials = _one_row_per_stored_cell(trials, problems)
    else:
        trials, reference = _identified(trials, spec)
        trials = _one_version_of_the_data(trials, spec.mode == "search", problems)
    is_tuning = pd.Series(False, trials.index)
    if spec is not None and spec.tune is not None:
        trials = choose_finals(trials, spec)
        is_tuning = ~trials.pop("is_final") & (trials["why"] == "")
    is_other = trials["why"] != ""
    parts = (trials[~is_other & ~is_tuning], trials[is_tuning], trials[is_other])
    current, tuning, other = (_ordered(part.drop(columns=FILE)) for part in parts)
    return Cells(current.drop(columns="why"), tuning.drop(columns="why"), other, reference)


def _one_row_per_trial(trials: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """Return one row per digest and fingerprint: that of the trial's own file before a compacted one.

    Between two compacted files, which may hold a trial that was pruned and later trained in full, the later row counts.
    """
    columns = [name for name in trials.columns if name not in (FILE, "test_confusion", "classes", "run_id")]
    order = ["_own", "finished_at", FILE]
    trials = trials.assign(_own=trials[FILE] >= 0).sort_values(order, kind="stable", na_position="first")
    trials = trials.drop(columns="_own")
    repeated = trials.drop_duplicates(columns).duplicated(["digest", "fingerprint"])
    if repeated.any():
        problems.add(f"{repeated.sum()} trials have a second row with other figures: the file written last counts")
    return trials[~trials.duplicated(["digest", "fingerprint"], keep="last")]


def _one_row_per_stored_cell(trials: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """Return one row per stored arm and seed of an ablation, the one finished last: nothing else distinguishes them."""
    repeated = (trials["mode"] != "search") & trials.duplicated(["arm", "seed"], keep="last")
    for row in rows_of(trials[repeated]):
        problems.add("a cell was trained more than once: the row finished last counts", f"{row.arm}, seed {row.seed}")
    return trials[~repeated]


def _identified(trials: pd.DataFrame, spec: StudySpec) -> tuple[pd.DataFrame, str | None]:
    """Return the rows with arm, levels and is_baseline of the current study, or why it does not have them."""
    configs = [json_object(text) or {} for text in trials["config"]]
    rows = [Row(digest, config) for digest, config in zip(trials["digest"], configs, strict=True)]
    found, reference = identify(spec, rows)
    stored = zip(trials["digest"], trials["arm"], trials["levels"], trials["is_baseline"], strict=True)
    named = [_named(found.get(digest), arm, levels, base) for digest, arm, levels, base in stored]
    arms, levels, baselines = zip(*named, strict=True) if named else ((), (), ())
    why = ["" if row.digest in found else why_other(spec, row.config) for row in rows]
    names: dict[str, Any] = {"arm": arms, "levels": levels, "is_baseline": baselines, "why": why}
    kinds: dict[Any, Any] = trials.dtypes.to_dict()
    if spec.tune is not None:
        places = [found.get(row.digest, _NOWHERE) for row in rows]
        names |= {name: [getattr(place, name) for place in places] for name in PLACE}
        kinds |= PLACE
    columns = {name: pd.Series(values, trials.index, dtype=kinds[name]) for name, values in names.items()}
    return trials.assign(**columns), reference


def _named(identity: Identity | None, arm: str, levels: str, is_baseline: bool) -> tuple[str, str, bool]:
    if identity is None:
        return arm, levels, is_baseline
    return identity.arm, json.dumps(dict(identity.levels), default=str), identity.is_baseline


def _one_version_of_the_data(trials: pd.DataFrame, is_search: bool, problems: Problems) -> pd.DataFrame:
    """Mark the rows of the study that are not of the version of the data which counts."""
    current = trials[trials["why"] == ""].sort_values("finished_at", kind="stable", na_position="first")
    finished = [0.0 if pd.isna(at) else at.timestamp() for at in current["finished_at"]]
    columns = (current["digest"], current["fingerprint"], finished, current["config"])
    counts = np.array(of_one_version([Trained(*row) for row in zip(*columns, strict=True)], is_search), bool)
    kept = set(current["digest"][counts])
    rule, other = ("the latest", "the latest") if is_search else ("the version that most cells have", "most cells")
    for row in rows_of(current[~counts]):
        problems.add(
            f"a cell has results on two versions of the data: {rule} counts"
            if row.digest in kept
            else f"a cell was trained on another version of the data than {other}, and is left out",
            f"{row.arm}, seed {row.seed}",
        )
    why = trials["why"].mask(trials.index.isin(current.index[~counts]), "trained on another version of the data")
    return trials.assign(why=why)


def _ordered(trials: pd.DataFrame) -> pd.DataFrame:
    rank = {arm: place for place, arm in enumerate(sorted(set(trials["arm"]), key=natural))}
    last = trials["trial"] if "trial" in trials else np.zeros(len(trials))
    order = np.lexsort((last, trials["seed"], trials["arm"].map(rank), trials["is_baseline"] != True))  # noqa: E712
    return trials.iloc[order].reset_index(drop=True)


def natural(name: str) -> list[tuple[int, float, str]]:
    """Return a sort key: ``batch_size=8`` before ``batch_size=16``, ``lr=1e-05`` before ``lr=0.1``."""
    parts = re.findall(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?|\D+", name)
    return [(0, float(part), "") if part[0].isdecimal() else (1, 0.0, part) for part in parts]


def json_object(text: Any) -> dict[str, Any] | None:
    """Return the JSON object that a text holds; None where it holds none."""
    try:
        found = parse_json(text, "") if isinstance(text, str) else None
    except StudyError:
        return None
    return found if isinstance(found, dict) else None
