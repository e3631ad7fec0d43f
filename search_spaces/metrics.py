"""Metrics: what a column of the results store measures, its direction, unit, scale and label.

A metric of the image-classification task is one entry of `IMAGE_QUANTITIES`: it then exists for every split, in the
training loop, in the store, in studies and in the report. A study of a user's own training declares its metrics under
``metrics``. Statistics, plots and reports take everything they say about a metric from its record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import StudyError, nearest

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SPLIT_LABELS: Mapping[str, str] = {"train": "training", "val": "validation", "test": "test"}
Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Metric:
    """A named quantity.

    ``higher_is_better`` is None where no direction is declared: such a metric is shown, but nothing is chosen or judged
    by it. ``scale`` is the factor from stored to shown values (100 for a fraction shown in per cent), ``digits`` how
    many follow the decimal point of a shown value, ``bounds`` the least and the greatest possible stored value.
    """

    name: str
    label: str
    higher_is_better: bool | None = None
    unit: str = ""
    scale: float = 1.0
    digits: int = 3
    bounds: Bounds = (None, None)

    @property
    def split(self) -> Split | None:
        """The split it is measured on, by the prefix of its name; None for one that belongs to no split."""
        return split_of(self.name)

    @property
    def quantity(self) -> str:
        """The name without the split: "accuracy" for "val_accuracy"."""
        return quantity_of(self.name)

    @property
    def axis(self) -> str:
        """The axis label, such as "test accuracy (%)"."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def difference(self) -> str:
        """The unit of a difference: percentages differ by points."""
        return "points" if self.unit == "%" else self.unit

    def amount(self, difference: float, style: str = "g") -> str:
        """Return a stored difference as text, with its unit: "0.5 points", "1 point"."""
        shown = f"{difference * self.scale:{style}}"
        return f"{shown} {'point' if (shown, self.difference) == ('1', 'points') else self.difference}".rstrip()

    def has_unit_of(self, other: Metric) -> bool:
        """Return whether a difference in this metric can be compared with one in another: same quantity or unit."""
        own = (self.unit, self.scale)
        return self.quantity == other.quantity or own == (other.unit, other.scale) != ("", 1.0)

    def show(self, value: float) -> str:
        """Return a stored value as text, with its unit."""
        space = "" if self.unit in ("%", "") else " "
        return f"{value * self.scale:.{self.digits}f}{space}{self.unit}"

    def shows(self, value: float) -> str:
        """Return a stored value as text, without its unit."""
        return f"{value * self.scale:.{self.digits}f}"


def split_of(name: str) -> Split | None:
    """Return the split in a metric's name; None where there is none."""
    return next((split for split in SPLITS if name.startswith(f"{split}_")), None)


def quantity_of(name: str) -> str:
    """Return a metric's name without its split."""
    split = split_of(name)
    return name if split is None else name.removeprefix(f"{split}_")


@dataclass(frozen=True)
class Counts:
    """What is counted over a split of labelled images, from which every quantity follows.

    ``confusion``: (classes, classes), true class by predicted class. ``ranks``: (classes,), how many images have their
    true class at that place (from 0) when classes are ordered by score. ``loss_sum``: the sum of cross entropies.
    """

    confusion: NDArray[np.int64]
    ranks: NDArray[np.int64]
    loss_sum: float
    images: int


@dataclass(frozen=True)
class Quantity:
    """A metric of image classification on any split, and how it follows from the counts."""

    name: str
    label: str
    compute: Callable[[Counts], float]
    higher_is_better: bool = True
    unit: str = "%"
    scale: float = 100.0
    digits: int = 2
    bounds: Bounds = (0.0, 1.0)

    def on(self, split: Split) -> Metric:
        """Return the metric on a split."""
        return Metric(
            name=f"{split}_{self.name}",
            label=f"{SPLIT_LABELS[split]} {self.label}",
            higher_is_better=self.higher_is_better,
            unit=self.unit,
            scale=self.scale,
            digits=self.digits,
            bounds=self.bounds,
        )


def accuracy(counts: Counts) -> float:
    """Return the fraction of images whose predicted class is the true one."""
    return float(np.trace(counts.confusion) / counts.images)


def f1_macro(counts: Counts) -> float:
    """Return the mean over classes of F1 = 2 TP / (2 TP + FP + FN).

    A class neither present nor predicted is left out, one never predicted correctly counts 0: scikit-learn's
    ``f1_score(average="macro", zero_division=0)``.
    """
    pairs = counts.confusion.sum(0) + counts.confusion.sum(1)
    met = pairs > 0
    return float(np.mean(2 * np.diag(counts.confusion)[met] / pairs[met]))


def top5_accuracy(counts: Counts) -> float:
    """Return the fraction of images whose true class is among the five with the highest scores; 1 for five classes."""
    return float(counts.ranks[:5].sum() / counts.images)


IMAGE_QUANTITIES: Mapping[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("loss", "loss", lambda counts: counts.loss_sum / counts.images, False, "nats", 1.0, 4, (0.0, None)),
        Quantity("accuracy", "accuracy", accuracy),
        # With one label an image every error is one false positive and one false negative: micro F1 is the accuracy.
        Quantity("f1_micro", "micro F1", accuracy),
        Quantity("f1_macro", "macro F1", f1_macro),
        Quantity("top5_accuracy", "top-5 accuracy", top5_accuracy),
    )
}
"""Name -> quantity of image classification. An entry here is all that a new one needs."""

IMAGE_METRICS: Mapping[str, Metric] = {
    metric.name: metric for split in SPLITS for metric in (q.on(split) for q in IMAGE_QUANTITIES.values())
}
"""Column -> metric of image classification, by split and quantity: train_loss, ..., test_f1_macro."""

COMMON_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("learning_rate", "learning rate", digits=5),
        Metric("gradient_norm", "gradient norm", unit="L2"),
        Metric("weight_norm", "weight norm", unit="L2"),
        Metric("dead_fraction", "dead features", False, "%", 100.0, 1, (0.0, 1.0)),
        Metric("images_per_second", "throughput", True, "images/s", digits=0, bounds=(0.0, None)),
        Metric("seconds", "training time", False, "s", digits=1, bounds=(0.0, None)),
        Metric("parameters", "trainable parameters", False, digits=0, bounds=(0.0, None)),
        Metric("top_eigenvalue", "top Hessian eigenvalue", False),
    )
}
"""Column -> metric that every task may have beside its own."""

LANDSCAPE_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roughness", "roughness of the loss surface", False, "decades", digits=2),
        Metric("inner_roughness", "roughness of the inner half of the loss surface", False, "decades", digits=2),
        Metric("centre_loss", "loss at the centre of the surface", False, "nats", digits=4),
        Metric("sharpness", "top Hessian eigenvalue", False, "decades", digits=2),
    )
}
"""Name -> metric of a trained model's loss landscape, which only claims and the report are about.

Roughness is log10 of the variance of the discrete Laplacian, over all of the plane or the half of its range around the
centre; sharpness is log10 of the largest eigenvalue of the Hessian at the centre. Lower is flatter. Where models have
several surfaces, they are of the one that most models have.
"""

CLEAN_METRICS: Mapping[str, Metric] = {
    f"train_clean_{name}": replace(
        IMAGE_METRICS[f"train_{name}"],
        name=f"train_clean_{name}",
        label=f"{IMAGE_METRICS[f'train_{name}'].label} without augmentation",
    )
    for name in ("loss", "accuracy")
}
"""Column -> metric on the training images without augmentation, in eval mode, where `probes.train_clean` asks for it.

In ``trials`` they are of the model kept, in ``epochs`` of the model after the last epoch, null in the others. Unlike
``train_loss`` and ``train_accuracy``, which are measured while training, they compare arms that augment differently.
"""

CLAIM_METRICS: Mapping[str, Metric] = {
    **LANDSCAPE_METRICS,
    **CLEAN_METRICS,
    "accuracy_gap": Metric("accuracy_gap", "gap between training and validation accuracy", False, "%", 100.0, digits=2),
    "clean_accuracy_gap": Metric(
        "clean_accuracy_gap",
        "gap between training (without augmentation) and validation accuracy",
        higher_is_better=False,
        unit="%",
        scale=100.0,
        digits=2,
    ),
    "feature_spread": Metric("feature_spread", "spread of the features", False, "decades", digits=2),
    "feature_drift": Metric("feature_drift", "drift of the feature quantiles", False, "decades", digits=2),
}
"""Name -> metric that only claims and the report are about; most are computed from the store's tables.

The gap is training minus validation accuracy, ``clean_accuracy_gap`` that with ``train_clean_accuracy``. The spread is
log10 of the distance from the 1st to the 99th percentile of the features after the last epoch. The drift is log10 of
the mean change of the percentiles from epoch to epoch, as a share of that distance.
"""


def metric_named(name: str, declared: Mapping[str, Metric]) -> Metric:
    """Return the record of a metric: a declared one, a common one, or one made from its name.

    A name that nobody declared takes unit, direction and scale from a declared metric of the same quantity on another
    split (``train_loss`` from ``val_loss``); otherwise it is shown under its own name and has no direction.
    """
    if found := declared.get(name) or COMMON_METRICS.get(name) or CLAIM_METRICS.get(name):
        return found
    split, quantity = split_of(name), quantity_of(name)
    label = quantity.replace("_", " ")
    for other in declared.values() if split else ():
        if other.quantity == quantity and other.split:
            bare = other.label.removeprefix(f"{SPLIT_LABELS[other.split]} ")
            return replace(other, name=name, label=f"{SPLIT_LABELS[split or 'val']} {bare}")
    return Metric(name, f"{SPLIT_LABELS[split]} {label}" if split else label)


def validation_counterpart(name: str) -> str:
    """Return the metric of the validation split that belongs to a metric: "val_loss" for "test_loss".

    A metric without a split, such as a throughput, is its own.
    """
    return f"val_{quantity_of(name)}" if split_of(name) else name


def require_direction(metric: Metric) -> bool:
    """Return whether more is better; StudyError where no direction is declared."""
    if metric.higher_is_better is None:
        raise StudyError(
            f"`metric` is {metric.name!r}, of which it is not known whether higher is better; declare it: "
            f"`metrics: {{{metric.name}: {{better: higher}}}}`"
        )
    return metric.higher_is_better


def unknown_metric(name: str, known: Iterable[str]) -> str:
    """Return "one of a, b, c (did you mean 'b'?)" for a metric that is not known."""
    names = list(known)
    return f"one of {', '.join(names)}{nearest(name, names)}"
