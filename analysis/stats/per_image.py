"""What single test images say about two arms: sampling error of the test set, McNemar's test, agreement.

The interval of `analysis.stats.effects` contains the noise of the seeds. All trials are tested on the same images, so
it does not contain the error that comes from having these test images and no others: that is the sampling error here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.stats.distributions import normal_isf
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults

Bools = npt.NDArray[np.bool_]
ALPHA = 0.05
METRIC = "test_accuracy"


@dataclass(frozen=True)
class ImageComparison:
    """Two arms on the same N images, over the seeds that both have.

    ``standard_error``: of the difference of accuracies, as it varies with the choice of test images (see
    `paired_standard_error`). ``agreement``: share of images that both classify correctly or both do not, the mean over
    seeds; ``own_agreement``: the same between different seeds of the reference arm, NaN with one seed. ``mcnemar_p``:
    exact p of each seed's pair of models, in the order of the seeds.
    """

    images: int
    seeds: tuple[int, ...]
    standard_error: float
    agreement: float
    own_agreement: float
    mcnemar_p: tuple[float, ...]


def compare_images(arm: Mapping[int, Bools], reference: Mapping[int, Bools]) -> ImageComparison | None:
    """Return the comparison of two arms, by seed whether each of N images is correct, (N,); None without a pair."""
    seeds = sorted(arm.keys() & reference.keys())
    if not seeds:
        return None
    ours, theirs = (np.stack([of_seed[seed] for seed in seeds]) for of_seed in (arm, reference))
    return ImageComparison(
        images=ours.shape[1],
        seeds=tuple(seeds),
        standard_error=paired_standard_error(ours, theirs),
        agreement=float((ours == theirs).mean()),
        own_agreement=_own_agreement(theirs),
        mcnemar_p=tuple(mcnemar(one, other) for one, other in zip(ours, theirs, strict=True)),
    )


def paired_standard_error(arm: Bools, reference: Bools) -> float:
    """Return the standard error of the difference of two mean accuracies over test images; NaN for one image.

    ``arm`` and ``reference``: whether each image is correct, (seeds, N), paired. With d_i the difference of image i,
    averaged over the seeds, it is sqrt(sum (d_i - mean d)^2 / (N - 1) / N): the paired standard error of Miller (2024,
    arXiv 2411.00640). The trained models are taken as given, so this error and that of the seeds are two things.
    """
    if arm.shape[1] < 2:
        return float("nan")
    difference = arm.mean(axis=0) - reference.mean(axis=0)
    return float(difference.std(ddof=1) / np.sqrt(len(difference)))


def mcnemar(one: Bools, other: Bools) -> float:
    """Return the exact two-sided p of McNemar's test (1947) of two models on the same images, each (N,).

    Of the images that only one of the two classifies correctly, equally good models have each half on average. It is
    about these two models and not about arms (Dietterich 1998), and the seeds share the images: so the p of several
    seeds are not pooled.
    """
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if only_one + only_other == 0:
        return 1.0
    from scipy import stats  # takes most of a second to import

    return float(stats.binomtest(only_one, only_one + only_other).pvalue)


def _own_agreement(correct: Bools) -> float:
    """Return the mean agreement of every two rows of (seeds, N), from the counts of correct rows by image."""
    seeds, right = len(correct), correct.sum(axis=0, dtype=np.int64)
    if seeds < 2:
        return float("nan")
    wrong = seeds - right
    return float(((right * (right - 1) + wrong * (wrong - 1)) / (seeds * (seeds - 1))).mean())


def correct_by_arm(results: StudyResults) -> dict[str, dict[int, Bools]]:
    """Return for each arm and seed whether each test image is correct, (N,), of completed trials.

    Trials of other test images than most are left out, and rows that are damaged.
    """
    table = results.correct
    table = table[(table["split"] == "test") & (table["status"] == "completed")]
    rows = [row for row in rows_of(table) if _is_whole(row.n, row.bits)]
    if not rows:
        return {}
    same = pd.Series([(row.fingerprint, row.images, int(row.n)) for row in rows])
    most = same.value_counts().index[0]
    found: dict[str, dict[int, Bools]] = {}
    for row, images in zip(rows, same, strict=True):
        if images == most:
            bits = np.unpackbits(np.frombuffer(row.bits, np.uint8), count=int(row.n))
            found.setdefault(row.arm, {})[int(row.seed)] = bits.astype(bool)
    return found


def _is_whole(n: object, bits: object) -> bool:
    return isinstance(bits, bytes) and isinstance(n, (int, float)) and 8 * len(bits) - 8 < n <= 8 * len(bits)


def image_columns(results: StudyResults, pairs: Sequence[tuple[str, str]], metric: str) -> dict[str, list[float]]:
    """Return the columns of `effects` that rest on single images, NaN where they are not known or not about ``metric``.

    ``test_images``, ``test_error`` (95 %: 1.96 standard errors), ``agreement``, ``own_agreement``, ``mcnemar_pairs``
    and ``mcnemar_different`` (pairs of models with p below 0.05).
    """
    correct = correct_by_arm(results) if metric == METRIC else {}
    columns: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for arm, reference in pairs:
        found = compare_images(correct.get(arm, {}), correct.get(reference, {}))
        values = [float("nan")] * len(COLUMNS) if found is None else _columns(found)
        for name, value in zip(COLUMNS, values, strict=True):
            columns[name].append(value)
    return columns


COLUMNS = ("test_images", "test_error", "agreement", "own_agreement", "mcnemar_pairs", "mcnemar_different")


def _columns(found: ImageComparison) -> list[float]:
    different = sum(p < ALPHA for p in found.mcnemar_p)
    half_width = float(normal_isf(ALPHA / 2)) * found.standard_error
    counts = (float(len(found.mcnemar_p)), float(different))
    return [float(found.images), half_width, found.agreement, found.own_agreement, *counts]
