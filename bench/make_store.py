"""Write a results store of synthetic results in the schema of the store: for tests, benchmarks and the documentation.

Every number is drawn from known effects and a known noise level, so tests can compare what a reader reports with the
ground truth. Nothing is trained. ``python -m bench.make_store FOLDER`` writes a small example.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from bench.invented import FINGERPRINT, Cell, Truth, tables_of
from search_spaces.plan import make_plan
from search_spaces.store_schema import key
from search_spaces.study import StudySpec
from search_spaces.study_files import study_to_store

__all__ = ["FINGERPRINT", "Truth", "write_store"]

FACTORS = {"model.norm": ["batch", "group", "none"], "batch_size": [128, 32]}


def write_store(
    root: Path | str,
    *,
    truth: Truth | None = None,
    seeds: int = 5,
    epochs: int = 10,
    factors: Mapping[str, Any] | None = None,
    design: str | Mapping[str, Any] = "one_factor_at_a_time",
    space: Mapping[str, Any] | None = None,
    trials: int = 40,
    compact: bool = False,
    extras: bool = True,
    rng_seed: int = 0,
    **spec: Any,
) -> Path:
    """Write a store and return its folder: an ablation over ``factors``, or a search of ``trials`` over ``space``.

    A search stops the worse two thirds at epochs 1, 3, 9, ... ``compact`` writes one file per table instead of one per
    trial; ``extras`` adds quantiles, a landscape and a curvature; ``spec`` goes into the study (name, question, rope
    ...).
    """
    truth = truth or Truth()
    kind = {"kind": design} if isinstance(design, str) else dict(design)
    ablation = {"mode": "ablation", "factors": dict(factors or FACTORS), "design": kind, "seeds": seeds}
    chosen = {"mode": "search", "space": dict(space)} if space else ablation
    study = StudySpec.model_validate(
        {"name": "invented", **chosen, **spec} | {"baseline": {"epochs": epochs, **spec.get("baseline", {})}}
    )
    rng = np.random.default_rng(rng_seed)
    cells = _search_cells(study, truth, trials, rng) if space else _ablation_cells(study, truth)
    tables = tables_of(study, cells, truth, epochs, extras, rng)
    root = Path(root)
    _write_documents(root, study)
    for name, table in tables.items():
        _write_table(root / name, table, [key(cell.digest, FINGERPRINT) for cell in cells], compact)
    return root


def _ablation_cells(study: StudySpec, truth: Truth) -> list[Cell]:
    cells = []
    for cell in make_plan(study).cells:
        arm = cell.arm
        effect = truth.arms.get(arm.name, 0.0)
        effect += sum(truth.effects.get(f"{name}={level}", 0.0) for name, level in arm.levels.items())
        cells.append(Cell(arm.name, arm.levels, arm.is_baseline, cell.config.seed, cell.config, cell.digest, effect))
    return cells


def _search_cells(study: StudySpec, truth: Truth, trials: int, rng: np.random.Generator) -> list[Cell]:
    space, cells = study.search_space(), []
    for index in range(trials):
        values = space.sample(rng)
        config = space.config(values).model_copy(update={"seed": study.seeds[0]})
        cells.append(Cell(f"t{index:05d}", values, False, config.seed, config, config.digest(), truth.score(values)))
    return list({cell.digest: cell for cell in cells}.values())


def _write_documents(root: Path, study: StudySpec) -> None:
    root.mkdir(parents=True, exist_ok=True)
    document = study_to_store(study)
    (root / "study.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    environment = {"git": {"commit": "0" * 40, "dirty": False}, "python": "3.11", "packages": {"torch": "none"}}
    (root / "environment.json").write_text(json.dumps(environment))


def _write_table(folder: Path, table: pa.Table, keys: Sequence[str], compact: bool) -> None:
    folder.mkdir(exist_ok=True)
    if compact:
        pq.write_table(table, folder / "compact-0.parquet")
        return
    digests = table["digest"].combine_chunks()
    changes = np.asarray(digests)[1:] != np.asarray(digests)[:-1]
    starts: list[int] = np.flatnonzero(np.r_[True, changes]).tolist() if len(digests) else []
    for start, stop in zip(starts, [*starts[1:], len(digests)], strict=True):
        pq.write_table(table.slice(start, stop - start), folder / f"{digests[start].as_py()}-{FINGERPRINT}.parquet")


if __name__ == "__main__":
    print(write_store(sys.argv[1], truth=Truth({"model.norm=none": -0.02, "batch_size=32": 0.01})))
