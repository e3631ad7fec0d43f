"""Write a results store of invented figures, by the store's schema: for tests, benchmarks and the documentation.

Every figure is drawn from stated effects and a stated noise, so a reader of the store can be held to the truth.
Nothing is trained. ``python bench/make_store.py FOLDER`` writes a small one to look at.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from search_spaces.plan import make_plan
from search_spaces.store_schema import CURVATURE, EPOCHS, LANDSCAPE, QUANTILES, SCHEMA_VERSION, TRIALS, key
from search_spaces.study import StudySpec

CLASSES = ("zero", "one", "two", "three", "four")
FINGERPRINT = "f" * 16
START = datetime(2026, 1, 1, tzinfo=UTC)
FACTORS = {"model.norm": ["batch", "group", "none"], "batch_size": [128, 32]}


@dataclass(frozen=True)
class Truth:
    """What the figures are drawn from; accuracies are fractions.

    ``effects`` adds to the accuracy for a level, by ``"<factor>=<level>"``, ``arms`` for an arm, by its name; in a
    search ``score`` maps the sampled values to what they add. ``statuses`` sets cells by (arm, seed); all others are
    completed.
    """

    effects: Mapping[str, float] = field(default_factory=dict)
    arms: Mapping[str, float] = field(default_factory=dict)
    score: Callable[[Mapping[str, Any]], float] = lambda values: 0.0
    accuracy: float = 0.85
    seed_sd: float = 0.004
    noise_sd: float = 0.003
    test_images: int = 10_000
    statuses: Mapping[tuple[str, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Cell:
    arm: str
    levels: Mapping[str, Any]
    is_baseline: bool
    seed: int
    config: Any
    digest: str
    effect: float


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
    chosen = {"space": dict(space)} if space else {"factors": dict(factors or FACTORS), "design": {"kind": design}}
    if not space and not isinstance(design, str):
        chosen["design"] = dict(design)
    study = StudySpec.model_validate(
        {"name": "invented", "mode": "search" if space else "ablation", "seeds": seeds, **chosen, **spec}
        | {"baseline": {"epochs": epochs, **spec.get("baseline", {})}}
    )
    rng = np.random.default_rng(rng_seed)
    cells = _search_cells(study, truth, trials, rng) if space else _ablation_cells(study, truth)
    tables = _tables(study, cells, truth, epochs, extras, rng)
    root = Path(root)
    _write_documents(root, study, make_plan(study).reference_arm if not space else None)
    for name, table in tables.items():
        _write_table(root / name, table, [key(cell.digest, FINGERPRINT) for cell in cells], compact)
    return root


def _ablation_cells(study: StudySpec, truth: Truth) -> list[_Cell]:
    cells = []
    for cell in make_plan(study).cells:
        arm = cell.arm
        effect = truth.arms.get(arm.name, 0.0)
        effect += sum(truth.effects.get(f"{name}={level}", 0.0) for name, level in arm.levels.items())
        cells.append(_Cell(arm.name, arm.levels, arm.is_baseline, cell.config.seed, cell.config, cell.digest, effect))
    return cells


def _search_cells(study: StudySpec, truth: Truth, trials: int, rng: np.random.Generator) -> list[_Cell]:
    space, cells = study.search_space(), []
    for index in range(trials):
        values = space.sample(rng)
        config = space.config(values).model_copy(update={"seed": study.seeds[0]})
        cells.append(_Cell(f"t{index:05d}", values, False, config.seed, config, config.digest(), truth.score(values)))
    return list({cell.digest: cell for cell in cells}.values())


def _tables(
    study: StudySpec, cells: Sequence[_Cell], truth: Truth, epochs: int, extras: bool, rng: np.random.Generator
) -> dict[str, pa.Table]:
    final = truth.accuracy + np.array([cell.effect for cell in cells])
    seed_effects = dict(zip(study.seeds, rng.normal(0, truth.seed_sd, len(study.seeds)), strict=True))
    final = final + [seed_effects[cell.seed] for cell in cells] + rng.normal(0, truth.noise_sd, len(cells))
    curves = _curves(final, epochs, truth, rng)
    trained, statuses = _fates(study, cells, curves, truth)
    tables = {"epochs": _epochs(cells, curves, trained, rng)}
    if extras:
        tables |= _extras(cells, trained, rng)
    return tables | {"trials": _trials(study, cells, final, curves, trained, statuses, truth)}


def _curves(final: np.ndarray, epochs: int, truth: Truth, rng: np.random.Generator) -> np.ndarray:
    """Return validation accuracies, shape (trials, epochs): a rise from chance to each trial's own end."""
    at = np.arange(1, epochs + 1)
    speed = 3.0 / epochs * (1 + 0.3 * rng.uniform(-1, 1, len(final)))
    rise = (1 - np.exp(-np.outer(speed, at))) / (1 - np.exp(-speed * epochs))[:, None]
    chance = 1 / len(CLASSES)
    noise = rng.normal(0, truth.noise_sd, (len(final), epochs))
    return np.clip(chance + (final[:, None] - chance) * rise + noise, 0, 1)


def _fates(study: StudySpec, cells: Sequence[_Cell], curves: np.ndarray, truth: Truth) -> tuple[np.ndarray, list[str]]:
    """Return the epochs each trial trained, and its status."""
    epochs = curves.shape[1]
    trained = np.full(len(cells), epochs)
    if study.mode == "search":
        alive, rung = np.ones(len(cells), bool), 1
        while rung < epochs and alive.sum() >= 3:
            worse = alive & (curves[:, rung - 1] < np.quantile(curves[alive, rung - 1], 2 / 3))
            trained[worse], alive, rung = rung, alive & ~worse, rung * 3
    statuses = []
    for index, cell in enumerate(cells):
        status = truth.statuses.get((cell.arm, cell.seed))
        if status in ("diverged", "pruned", "failed"):
            trained[index] = 0 if status == "failed" else max(1, epochs // 2)
        statuses.append(status or ("pruned" if trained[index] < epochs else "completed"))
    return trained, statuses


def _epochs(cells: Sequence[_Cell], curves: np.ndarray, trained: np.ndarray, rng: np.random.Generator) -> pa.Table:
    of_trial = np.repeat(np.arange(len(cells)), trained)
    epoch = np.concatenate([np.arange(n) for n in trained]) if len(cells) else np.zeros(0, int)
    val = curves[of_trial, epoch]
    train = np.clip(val + 0.05, 0, 1)
    columns = {
        "epoch": epoch + 1,
        **_metrics("train", train),
        **_metrics("val", val),
        "learning_rate": 0.05 * (1 + np.cos(np.pi * epoch / curves.shape[1])),
        "gradient_norm": 1 + rng.random(len(val)),
        "weight_norm": 20 + 0.1 * epoch,
        "dead_fraction": np.zeros(len(val)),
        "images_per_second": 1000 + rng.normal(0, 10, len(val)),
        "seconds": 1 + 0.1 * rng.random(len(val)),
    }
    return _with_keys(cells, of_trial, columns, EPOCHS)


def _metrics(split: str, accuracy: np.ndarray) -> dict[str, np.ndarray]:
    loss = -np.log(np.clip(accuracy, 1e-3, 1))
    return {f"{split}_{name}": value for name, value in zip(
        ("loss", "accuracy", "f1_micro", "f1_macro"), (loss, accuracy, accuracy, accuracy * 0.999), strict=True
    )}  # fmt: skip


def _extras(cells: Sequence[_Cell], trained: np.ndarray, rng: np.random.Generator) -> dict[str, pa.Table]:
    levels = np.array([1.0, 20.0, 80.0, 99.0])
    of_trial = np.repeat(np.arange(len(cells)), trained * 4)
    epoch = np.concatenate([np.repeat(np.arange(n), 4) for n in trained]) if len(cells) else np.zeros(0, int)
    percentile = np.tile(levels, int(trained.sum()))
    quantiles = {
        "epoch": epoch + 1,
        "layer": np.full(len(epoch), "features"),
        "percentile": percentile,
        "value": (percentile / 50 - 1) * np.sqrt(epoch + 1) + rng.normal(0, 0.05, len(epoch)),
    }
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9)))
    loss = 0.3 + x**2 + 2 * y**2
    surface = {"x": x, "y": y, "surface": np.full(81, "seed0-1.0-9"), "split": np.full(81, "val")}
    surface |= {"loss": loss, "accuracy": np.exp(-loss)}
    first = cells[:1]
    bend = {"surface": ["seed0-1.0-9"], "top_eigenvalue": [4.0], "iterations": [20], "residual": [1e-4]}
    return {
        "quantiles": _with_keys(cells, of_trial, quantiles, QUANTILES),
        "landscape": _with_keys(first, np.zeros(81, int), surface, LANDSCAPE),
        "curvature": _with_keys(first, np.zeros(1, int), bend, CURVATURE),
    }


def _with_keys(cells: Sequence[_Cell], of_trial: np.ndarray, columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    digests = pa.array([cell.digest for cell in cells], pa.string()).take(pa.array(of_trial))
    fingerprints = pa.repeat(pa.scalar(FINGERPRINT), len(of_trial))
    return pa.table({"digest": digests, "fingerprint": fingerprints} | dict(columns)).select(schema.names).cast(schema)


def _trials(
    study: StudySpec,
    cells: Sequence[_Cell],
    final: np.ndarray,
    curves: np.ndarray,
    trained: np.ndarray,
    statuses: Sequence[str],
    truth: Truth,
) -> pa.Table:
    rows = []
    for index, (cell, status) in enumerate(zip(cells, statuses, strict=True)):
        finished = START + timedelta(minutes=index + 1)
        row = dict.fromkeys(TRIALS.names) | {
            "digest": cell.digest,
            "fingerprint": FINGERPRINT,
            "schema_version": SCHEMA_VERSION,
            "study": study.name,
            "mode": study.mode,
            "arm": cell.arm,
            "is_baseline": cell.is_baseline,
            "levels": json.dumps(dict(cell.levels)),
            "seed": cell.seed,
            "config": cell.config.model_dump_json(),
            "status": status,
            "epochs_planned": curves.shape[1],
            "epochs_trained": int(trained[index]),
            "classes": list(CLASSES),
            "parameters": 172_506,
            "precision": "float32",
            "device": "cpu",
            "device_name": "invented",
            "node": "localhost",
            "cpus": 1.0,
            "gpus": 0.0,
            "started_at": finished - timedelta(minutes=1),
            "finished_at": finished,
            "seconds": float(trained[index]),
            "attempts": 1,
            "history": "[]",
            "error": "RuntimeError: invented" if status == "failed" else None,
        }
        rows.append(row | _outcome(curves[index], int(trained[index]), final[index], status, truth))
    return pa.Table.from_pylist(rows, schema=TRIALS)


def _outcome(curve: np.ndarray, trained: int, final: float, status: str, truth: Truth) -> dict[str, Any]:
    if not trained:
        return {}
    best = int(np.argmax(curve[:trained]))
    val = float(curve[best])
    found: dict[str, Any] = {"best_epoch": best + 1}
    found |= _metrics("val", np.float64(val)) | _metrics("train", np.float64(min(1.0, val + 0.05)))
    if status == "completed":
        confusion = _confusion(round(float(np.clip(final, 0, 1)) * truth.test_images), truth.test_images)
        accuracy = float(np.trace(confusion) / confusion.sum())
        found |= _metrics("test", np.float64(accuracy)) | {"test_confusion": confusion.ravel().tolist()}
    return {name: value if isinstance(value, list | int) else float(value) for name, value in found.items()}


def _confusion(correct: int, images: int) -> np.ndarray:
    """Return a confusion matrix with that many images on its diagonal, the mistakes one class to the right."""
    k = len(CLASSES)
    size = np.full(k, images // k) + (np.arange(k) < images % k)
    right = np.full(k, correct // k) + (np.arange(k) < correct % k)
    matrix = np.diag(right)
    matrix[np.arange(k), (np.arange(k) + 1) % k] = size - right
    return matrix


def _write_documents(root: Path, study: StudySpec, reference_arm: str | None) -> None:
    root.mkdir(parents=True, exist_ok=True)
    document = study.model_dump(mode="json") | {"reference_arm": reference_arm}
    (root / "study.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    environment = {"git": {"commit": "0" * 40, "dirty": False}, "python": "3.11", "packages": {"torch": "none"}}
    (root / "environment.json").write_text(json.dumps(environment))


def _write_table(folder: Path, table: pa.Table, keys: Sequence[str], compact: bool) -> None:
    folder.mkdir(exist_ok=True)
    if compact:
        pq.write_table(table, folder / "compact-0.parquet")
        return
    digests = table["digest"].combine_chunks()
    starts = np.flatnonzero(np.r_[True, np.asarray(digests)[1:] != np.asarray(digests)[:-1]]) if len(digests) else []
    for start, stop in zip(starts, [*starts[1:], len(digests)], strict=True):
        pq.write_table(table.slice(start, stop - start), folder / f"{digests[start].as_py()}-{FINGERPRINT}.parquet")


if __name__ == "__main__":
    print(write_store(sys.argv[1], truth=Truth({"model.norm=none": -0.02, "batch_size=32": 0.01})))
