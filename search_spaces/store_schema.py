"""The tables and columns of the results store: the contract between writer and readers.

A store is a folder (or an ``s3://`` prefix) ``results/<study>/``::

    study.yaml            the study of the last run
    environment.json      commit, package versions, hardware
    rounds.json           when which seeds were planned, and by which rule (`search_spaces.rounds`); may be absent
    trials/               one row for each trial
    epochs/               one row for each epoch of a trial
    quantiles/            one row for each epoch, layer and percentile, where probed
    correct/              one row for each trial: which test images it classified correctly
    landscape/            one row for each grid point
    curvature/            one row for each landscape: its largest curvatures
    checkpoints/KEY/      best.pt, last.pt
    artifacts/KEY/        files that a training function kept
    code/                 archives of the user's code by fingerprint; accepted.json
    live.json, ray.log    of the last run: what it does, and what Ray said
    report/, exports/, tensorboard/   written by the verbs of these names
    .lease                who writes to the store

A table is a folder of Parquet files: ``KEY.parquet`` of one trial (``KEY-....parquet`` in ``landscape``), and
``compact-....parquet``, which a run merges from those of many trials.

KEY is ``<digest>-<fingerprint>`` (trial config, data). The files of a trial are written atomically, ``trials`` last:
a trial whose row can be read has all its other rows. Those have its ``run_id``; rows with another do not count.
Fractions are 0 to 1, times are UTC, durations are seconds.

Versions. A reader treats an absent nullable column as null and ignores unknown columns; a newer version is refused.

1. Image classification alone: the metrics are fixed columns.
2. One float column for each metric that the task declares (`table_schema`), so files may differ in their columns; new
   columns ``task``, ``code``, ``choose_by`` and ``artifacts`` of ``trials``. Later, without a new version: table
   ``correct`` and columns ``run_id`` and ``log_lines``, which older stores do not have and older releases ignore.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Literal, get_args

import pyarrow as pa

from search_spaces.errors import StudyError
from search_spaces.metrics import COMMON_METRICS, IMAGE_METRICS, IMAGE_QUANTITIES, SPLITS, metric_named, split_of

__all__ = [
    "CONFIRMATION",
    "CONFUSION_CLASSES",
    "CORRECT",
    "CURVATURE",
    "EPOCHS",
    "LANDSCAPE",
    "METRICS",
    "METRIC_NAMES",
    "QUANTILES",
    "SCHEMA_VERSION",
    "SPLITS",
    "STATUSES",
    "TABLES",
    "TRIALS",
    "Status",
    "check_version",
    "key",
    "metric_columns",
    "table_schema",
]

SCHEMA_VERSION = 2

Status = Literal["completed", "pruned", "diverged", "failed"]
STATUSES: tuple[str, ...] = get_args(Status)
"""completed: every epoch trained; pruned: stopped early by the scheduler; diverged: a loss was not finite;
failed: an error, after all attempts."""


def _column(name: str, kind: pa.DataType, text: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": text})


_KEYS = [
    _column("digest", pa.string(), "name of the trial config, 16 hexadecimal digits", nullable=False),
    _column(
        "fingerprint",
        pa.string(),
        "name of the data it was trained on, 16 hexadecimal digits",
        nullable=False,
    ),
]
_RUN_ID = _column("run_id", pa.string(), "16 hexadecimal digits drawn by the run that wrote the row")
CONFIRMATION = "-confirm"
"""End of the name of the study that confirms the best configurations of a search."""
CONFUSION_CLASSES = 100
"""The most classes of which a whole confusion matrix is stored. Larger ones are mostly zeros: a file of many trials is
so small that reading it would take more memory than a file of its size may (`search_spaces.parquet_files`)."""
METRICS = tuple(IMAGE_QUANTITIES)
METRIC_NAMES = tuple(IMAGE_METRICS)
"""The trials table's columns that a study of image classification can be about: train_loss, ..., test_f1_macro."""


_TRIALS_HEAD = [
    *_KEYS,
    _column("schema_version", pa.int64(), "version of this table", nullable=False),
    _column("study", pa.string(), "study that trained it", nullable=False),
    _column("mode", pa.string(), "ablation or search", nullable=False),
    _column("arm", pa.string(), "arm's name", nullable=False),
    _column("is_baseline", pa.bool_(), "whether the arm is the baseline", nullable=False),
    _column("levels", pa.string(), "JSON object: factor -> level", nullable=False),
    _column("seed", pa.int64(), "seed", nullable=False),
    _column("config", pa.string(), "JSON of the full trial config", nullable=False),
    _column("status", pa.string(), "completed, pruned, diverged or failed", nullable=False),
    _column("epochs_planned", pa.int64(), "epochs of a full training", nullable=False),
    _column("epochs_trained", pa.int64(), "epochs trained", nullable=False),
    _column("best_epoch", pa.int64(), "epoch (from 1) that is best by `choose_by`: the model kept"),
]
_TRIALS_TAIL = [
    _column(
        "test_confusion",
        pa.list_(pa.int64()),
        f"test confusion matrix by rows of true classes, flattened; of more than {CONFUSION_CLASSES} classes the "
        "sum of each row alone, its number of images",
    ),
    _column("classes", pa.list_(pa.string()), "class names"),
    _column("parameters", pa.int64(), "trainable parameters"),
    _column("precision", pa.string(), "precision used: float32 or bfloat16"),
    _column("device", pa.string(), "device type: cpu or cuda"),
    _column("device_name", pa.string(), "device's own name"),
    _column("node", pa.string(), "host that trained it"),
    _column("cpus", pa.float64(), "CPUs given"),
    _column("gpus", pa.float64(), "share of a GPU given"),
    _column("started_at", pa.timestamp("us", tz="UTC"), "start of the first attempt"),
    _column("finished_at", pa.timestamp("us", tz="UTC"), "when this row was written"),
    _column("seconds", pa.float64(), "training time, all epochs, without waiting"),
    _column("attempts", pa.int64(), "starts, the successful one included"),
    _column("history", pa.string(), "JSON list of what went wrong in earlier attempts"),
    _column("error", pa.string(), "traceback of a failed trial"),
    _column("task", pa.string(), "what was trained; null: image_classification"),
    _column("code", pa.string(), "fingerprint of the user's code, 16 hexadecimal digits; null where there is none"),
    _column("choose_by", pa.string(), "metric that chose the best epoch; null: val_accuracy"),
    _column("artifacts", pa.string(), "JSON list of the files that the training kept"),
    _column("log_lines", pa.string(), "the last lines that the training wrote by `context.log`"),
    _RUN_ID,
]
"""Metrics of a trial are those of its best epoch (by ``choose_by``, the earliest of equals): train as measured while
training, val after the epoch, test once at the end with the model kept. A pruned, diverged or failed trial has no test
figures."""

_EPOCHS_HEAD = [*_KEYS, _column("epoch", pa.int64(), "epoch, from 1", nullable=False)]
_EPOCHS_TAIL = [
    _column("learning_rate", pa.float64(), "learning rate of the epoch's last step"),
    _column("gradient_norm", pa.float64(), "mean over steps of the L2 norm of all gradients, before clipping"),
    _column("weight_norm", pa.float64(), "L2 norm of all parameters after the epoch"),
    _column("dead_fraction", pa.float64(), "share of features before the classifier that are 0 on every probed image"),
    _column("images_per_second", pa.float64(), "training images per second of training time"),
    _column("seconds", pa.float64(), "the epoch's duration, validation included"),
    _RUN_ID,
]
_AROUND = {"trials": (_TRIALS_HEAD, _TRIALS_TAIL), "epochs": (_EPOCHS_HEAD, _EPOCHS_TAIL)}


def table_schema(table: str, metrics: Iterable[str]) -> pa.Schema:
    """Return the Arrow schema of a table whose task declares ``metrics``: a float64 column for each.

    Metrics of the test split have no column in ``epochs``; tables other than ``trials`` and ``epochs`` have none at
    all. Raises StudyError for a metric that has the name of another column, such as ``seed``.
    """
    if table not in _AROUND:
        return TABLES[table]
    head, tail = _AROUND[table]
    fixed = {field.name: field.type for field in (*head, *tail)}
    columns = []
    for name in dict.fromkeys(metrics):
        if name in fixed and fixed[name] != pa.float64():
            raise StudyError(f"`metrics.{name}` has the name of a column of the results store; choose another name")
        if name not in fixed and not (table == "epochs" and split_of(name) == "test"):
            columns.append(_column(name, pa.float64(), _described(name)))
    return pa.schema([*head, *columns, *tail])


def _described(name: str) -> str:
    return metric_named(name, {**IMAGE_METRICS, **COMMON_METRICS}).label


def metric_columns(table: str, schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns of a stored ``trials`` or ``epochs`` file that are declared metrics: its further floats."""
    if table not in _AROUND:
        return ()
    fixed = {field.name for part in _AROUND[table] for field in part}
    return tuple(field.name for field in schema if field.name not in fixed and pa.types.is_floating(field.type))


def check_version(versions: Iterable[object], place: str) -> None:
    """Raise StudyError where rows of a store have a schema version above this release's; damaged ones do not count."""
    newest = max((int(version) for version in versions if isinstance(version, Integral)), default=SCHEMA_VERSION)
    if newest > SCHEMA_VERSION:
        raise StudyError(
            f"{place} has rows of schema version {newest}, but this release of tune-app reads versions up to "
            f"{SCHEMA_VERSION}; install a newer release"
        )


QUANTILES = pa.schema(
    [
        *_KEYS,
        _column("epoch", pa.int64(), "epoch, from 1", nullable=False),
        _column("layer", pa.string(), "'features' (before the classifier) or a norm layer's name", nullable=False),
        _column("percentile", pa.float64(), "1, 20, 80 or 99", nullable=False),
        _column("value", pa.float64(), "that percentile of the layer's values"),
        _RUN_ID,
    ]
)

CORRECT = pa.schema(
    [
        *_KEYS,
        _column("split", pa.string(), "images classified: test", nullable=False),
        _column("images", pa.string(), "16 hexadecimal digits of SHA-256 over the images' indices in the source"),
        _column("n", pa.int64(), "number of images"),
        _column(
            "bits",
            pa.binary(),
            "one bit for each image in the order of the source, 1 where it was classified correctly; eight to a byte, "
            "the first in the highest bit (numpy.packbits, bitorder big), the last byte filled with 0",
        ),
        _RUN_ID,
    ]
)

LANDSCAPE = pa.schema(
    [
        *_KEYS,
        _column(
            "surface",
            pa.string(),
            "name of the surface: direction seed, range, points, options",
            nullable=False,
        ),
        _column("x", pa.float64(), "step along the first direction, in filter norms", nullable=False),
        _column("y", pa.float64(), "step along the second direction", nullable=False),
        _column("split", pa.string(), "images evaluated: train, val or test", nullable=False),
        _column("loss", pa.float64(), "mean cross entropy"),
        _column("accuracy", pa.float64(), "accuracy"),
    ]
)

CURVATURE = pa.schema(
    [
        *_KEYS,
        _column("surface", pa.string(), "name of the surface it belongs to", nullable=False),
        _column("top_eigenvalue", pa.float64(), "largest Hessian eigenvalue of the mean loss, by power iteration"),
        _column("iterations", pa.int64(), "power iterations used"),
        _column("residual", pa.float64(), "||Hv - lambda v|| / |lambda| at the end"),
    ]
)

TRIALS = table_schema("trials", IMAGE_METRICS)
EPOCHS = table_schema("epochs", IMAGE_METRICS)
TABLES: Mapping[str, pa.Schema] = {
    "trials": TRIALS,
    "epochs": EPOCHS,
    "quantiles": QUANTILES,
    "correct": CORRECT,
    "landscape": LANDSCAPE,
    "curvature": CURVATURE,
}
"""The tables of an image-classification study."""


def key(digest: str, fingerprint: str) -> str:
    """Return the stem of a trial's files in every table."""
    return f"{digest}-{fingerprint}"
