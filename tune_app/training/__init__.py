"""Training: ``fit`` turns a trial config and images into epoch metrics."""

from tune_app.training.checkpoints import CorruptCheckpoint, read_checkpoint
from tune_app.training.decay import DECAY_POLICIES, decayed_names, misnamed, parameter_groups
from tune_app.training.epoch_metrics import EpochMetrics, QuantileRow, clean_columns
from tune_app.training.evaluation import evaluate
from tune_app.training.hardware import (
    autocast,
    device_name,
    full_float32,
    keep_freed_memory,
    limit_memory,
    resolve_device,
    resolve_precision,
    set_threads,
)
from tune_app.training.loop import fit
from tune_app.training.metrics import SplitMetrics
from tune_app.training.optimizers import OPTIMIZERS
from tune_app.training.probes import Probes
from tune_app.training.schedules import SCHEDULES, learning_rate_factors

__all__ = [
    "DECAY_POLICIES",
    "OPTIMIZERS",
    "SCHEDULES",
    "CorruptCheckpoint",
    "EpochMetrics",
    "Probes",
    "QuantileRow",
    "SplitMetrics",
    "autocast",
    "clean_columns",
    "decayed_names",
    "device_name",
    "evaluate",
    "fit",
    "full_float32",
    "keep_freed_memory",
    "learning_rate_factors",
    "limit_memory",
    "misnamed",
    "parameter_groups",
    "read_checkpoint",
    "resolve_device",
    "resolve_precision",
    "set_threads",
]
