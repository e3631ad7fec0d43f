"""Estimate the time of an epoch from a few steps."""

from __future__ import annotations

import torch

from search_spaces.config.trial import TrialConfig
from tune_app.data import ImageArrays, covering, make_splits
from tune_app.training.loop import fit
from tune_app.training.probes import Probes

STEPS = 4


def epoch_seconds(config: TrialConfig, arrays: ImageArrays, device: torch.device) -> float:
    """Return the estimated seconds of one epoch, validation included, with the current number of threads.

    Trains two epochs of a few steps each and uses the second, so that one-time costs are not included.
    """
    splits = make_splits(arrays, config.data, config.seed)
    train = covering(arrays.train_labels[splits.train], STEPS * config.batch_size)
    val = covering(arrays.train_labels[splits.val], 500)
    test = covering(arrays.test_labels[splits.test], 1)
    sizes = {"data.train_size": train, "data.validation_size": val, "data.test_size": test}
    few = config.with_values({**sizes, "epochs": 2, "schedule.warmup_epochs": 0.0})
    *_, last = fit(few, arrays, device=device, probes=Probes(quantiles=False, norm_inputs=False, norms=False))
    evaluating = max(0.0, last.seconds - train / last.images_per_second)
    return len(splits.train) / last.images_per_second + evaluating * len(splits.val) / val
