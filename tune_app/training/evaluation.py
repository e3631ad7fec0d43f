"""A pass over a split in eval mode."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from tune_app.models import ImageClassifier
from tune_app.training.hardware import UsedPrecision, autocast
from tune_app.training.metrics import SplitMetrics, Tally


def evaluate(
    model: ImageClassifier,
    batches: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
    device: torch.device,
    precision: UsedPrecision,
    *,
    keep_features: int = 0,
    correct: list[Tensor] | None = None,
) -> tuple[SplitMetrics, Tensor | None]:
    """Return the model's metrics on the batches, and the features (N, D) of the first ``keep_features`` images.

    Where there is a list ``correct``, bool (B,) is added to it for each batch, true for the images whose class has the
    largest logit, and the metrics have the confusion matrix. Leaves the model in eval mode.
    """
    model.eval()
    tally = Tally(num_classes, device)
    features: list[Tensor] = []
    remaining = keep_features
    with torch.inference_mode():
        for x_NCHW, y_N in batches:
            with autocast(precision, device):
                features_ND = model.features(x_NCHW)
                logits = model.head(features_ND).float()
            tally.add(logits, y_N, F.cross_entropy(logits, y_N))
            if correct is not None:
                correct.append(logits.argmax(1) == y_N)
            if remaining > 0:
                features.append(features_ND[:remaining].float())
                remaining -= len(features[-1])
        return tally.result(with_confusion=correct is not None), torch.cat(features) if features else None
