"""Synthetic results as the tables of the store: curves, statuses and metrics drawn from a known ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from search_spaces.store_schema import CURVATURE, EPOCHS, LANDSCAPE, QUANTILES, SCHEMA_VERSION, TRIALS
from search_spaces.study import StudySpec

CLASSES = ("zero", "one", "two", "three", "four")
FINGERPRINT = "f" * 16
RUN_ID = "1" * 16
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Truth:
    """Ground truth that the results are drawn from; accuracies are fractions.

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
class Cell:
    arm: str
    levels: Mapping[str, Any]
    is_baseline: bool
    seed: int
    config: Any
    digest: str
    effect: float


def tables_of(
    study: StudySpec, cells: Sequence[Cell], truth: Truth, epochs: int, extras: bool, rng: np.random.Generator
) -> dict[str, pa.Table]:
    final = truth.accuracy + np.array([cell.effect for cell in cells])
    seed_effects = dict(zip(study.seeds, rng.normal(0, truth.seed_sd, len(study.seeds)), strict=True))
    final = final + [seed_effects[cell.seed] for cell in cells] + rng.normal(0, truth.noise_sd, len(cells))
    curves = _curves(final, epochs, truth, rng)
    trained, statuses = _statuses(study, cells, curves, truth)
    tables = {"epochs": _epochs(cells, curves, trained, rng)}
    if extras:
        tables |= _extras(cells, trained, rng)
    return tables | {"trials": _trials(study, cells, final, curves, trained, statuses, truth)}


def _curves(final: np.ndarray, epochs: int, truth: Truth, rng: np.random.Generator) -> np.ndarray:
    """Return validation accuracies, shape (trials, epochs): from chance level to the final accuracy of each trial."""
    at = np.arange(1, epochs + 1)
    speed = 3.0 / epochs * (1 + 0.3 * rng.uniform(-1, 1, len(final)))
    rise = (1 - np.exp(-np.outer(speed, at))) / (1 - np.exp(-speed * epochs))[:, None]
    chance = 1 / len(CLASSES)
    noise = rng.normal(0, truth.noise_sd, (len(final), epochs))
    curves: np.ndarray = np.clip(chance + (final[:, None] - chance) * rise + noise, 0, 1)
    return curves


def _statuses(
    study: StudySpec, cells: Sequence[Cell], curves: np.ndarray, truth: Truth
) -> tuple[np.ndarray, list[str]]:
    """Return the number of epochs that each trial trained, and its status."""
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


def _epochs(cells: Sequence[Cell], curves: np.ndarray, trained: np.ndarray, rng: np.random.Generator) -> pa.Table:
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


def _metrics(split: str, accuracy: np.ndarray | np.float64) -> dict[str, np.ndarray]:
    loss = -np.log(np.clip(accuracy, 1e-3, 1))
    values = {
        "loss": loss,
        "accuracy": accuracy,
        "f1_micro": accuracy,
        "f1_macro": accuracy * 0.999,
        "top5_accuracy": np.sqrt(accuracy),
    }
    return {f"{split}_{name}": value for name, value in values.items()}


def _extras(cells: Sequence[Cell], trained: np.ndarray, rng: np.random.Generator) -> dict[str, pa.Table]:
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
    curvature = {"surface": ["seed0-1.0-9"], "top_eigenvalue": [4.0], "iterations": [20], "residual": [1e-4]}
    return {
        "quantiles": _with_keys(cells, of_trial, quantiles, QUANTILES),
        "landscape": _with_keys(first, np.zeros(81, int), surface, LANDSCAPE),
        "curvature": _with_keys(first, np.zeros(1, int), curvature, CURVATURE),
    }


def _with_keys(cells: Sequence[Cell], of_trial: np.ndarray, columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    digests = pa.array([cell.digest for cell in cells], pa.string()).take(pa.array(of_trial))
    fingerprints = pa.repeat(pa.scalar(FINGERPRINT), len(of_trial))
    run_ids = pa.repeat(pa.scalar(RUN_ID), len(of_trial))
    keys = {"digest": digests, "fingerprint": fingerprints, "run_id": run_ids}
    return pa.table(keys | dict(columns)).select(schema.names).cast(schema)


def _trials(
    study: StudySpec,
    cells: Sequence[Cell],
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
            "run_id": RUN_ID,
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
    """Return a confusion matrix with ``correct`` images on its diagonal; errors go to the next class."""
    k = len(CLASSES)
    size = np.full(k, images // k) + (np.arange(k) < images % k)
    right = np.full(k, correct // k) + (np.arange(k) < correct % k)
    matrix = np.diag(right)
    matrix[np.arange(k), (np.arange(k) + 1) % k] = size - right
    return matrix
