"""What each arm does to the metric, against the reference arm or any other, paired by seed, with a verdict in words.

The tests and the reasons for them are described in `analysis.stats.paired`; what happens to cells without a figure in
`analysis.stats.pairs.missing_rule`.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from analysis.stats.paired import ALPHA, Floats, PairedEffects, compare_differences
from analysis.stats.pairs import metric_table, share_of_diverged
from analysis.stats.verdict_words import Comparison, verdict_words
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError, nearest
from search_spaces.metrics import require_direction

VERDICTS = ("better", "worse", "equivalent", "undecided")
VERDICT_RULE = (
    "Better and worse are claimed by the paired t test, equivalent by two one-sided t tests against the region of "
    "practical equivalence, each at 5 % over all comparisons of the table by Holm's method. The exact sign-flip "
    "permutation p is shown beside it: with 5 pairs it cannot fall below 0.0625, so it confirms but does not decide. "
    "Everything else is undecided, which is not the same as equal."
)
_RESAMPLES = 9999


def effects(
    results: StudyResults, metric: str | None = None, reference: str | None = None, rope: float | None = None
) -> pd.DataFrame:
    """Return one row for each arm against ``reference`` (the study's reference arm if None).

    Columns: arm, reference, n (pairs), lost (pairs without a figure), mean, reference_mean (over the pairs),
    difference, sd (of the paired differences), low, high (95 % t interval), bca_low, bca_high (95 % bootstrap
    interval), p (exact sign-flip permutation up to 12 pairs, else t), p_t, p_holm (of p_t), equivalent_p (TOST),
    equivalent_holm, verdict (better, worse, equivalent or undecided), words. Differences are arm minus reference, in
    the metric's own unit: accuracies are fractions. ``metric`` and ``rope`` are the study's own if None. Raises
    StudyError for an unknown arm or metric.
    """
    chosen = reference or results.reference_arm
    return compare_arms(results, [(arm, chosen) for arm in results.arms if arm != chosen], metric, rope)


def pairwise_effects(
    results: StudyResults, metric: str | None = None, arms: Sequence[str] | None = None, rope: float | None = None
) -> pd.DataFrame:
    """Return the columns of `effects` for every two arms, the later against the earlier; Holm's family is all pairs."""
    chosen = list(results.arms if arms is None else arms)
    pairs = [(second, first) for first, second in itertools.combinations(chosen, 2)]
    return compare_arms(results, pairs, metric, rope)


def compare_arms(
    results: StudyResults, pairs: list[tuple[str, str]], metric: str | None = None, rope: float | None = None
) -> pd.DataFrame:
    """Return the columns of `effects`, a row for each (arm, reference); Holm's family is the rows."""
    metric = metric or results.metric
    rope = results.rope(metric) if rope is None else rope
    values = metric_table(results, metric)
    for arm in {name for pair in pairs for name in pair} - set(values.index):
        raise StudyError(
            f"arm {arm!r} is not in this study{nearest(arm, values.index)}; it has {', '.join(values.index)}"
        )
    arm_values = values.loc[[arm for arm, _ in pairs]].to_numpy(float)
    reference_values = values.loc[[reference for _, reference in pairs]].to_numpy(float)
    differences = arm_values - reference_values
    is_higher_better = require_direction(results.metric_record(metric))
    found = compare_differences(differences, rope=rope, higher_is_better=is_higher_better)
    intervals = [bootstrap_interval(row[np.isfinite(row)]) for row in differences]
    table = pd.DataFrame(
        {
            "arm": [arm for arm, _ in pairs],
            "reference": [reference for _, reference in pairs],
            "n": found.n,
            "lost": _planned(results, pairs) - found.n,
            "mean": _mean_over_pairs(arm_values, differences),
            "reference_mean": _mean_over_pairs(reference_values, differences),
            **{name: getattr(found, name) for name in ("difference", "sd", "low", "high")},
            "bca_low": [low for low, _, _ in intervals],
            "bca_high": [high for _, high, _ in intervals],
            "interval_note": [note for _, _, note in intervals],
            **{name: getattr(found, name) for name in _TESTED},
        }
    )
    table["words"] = _words(results, table, found, metric, rope)
    return table


_TESTED = ("p", "p_t", "p_holm", "equivalent_p", "equivalent_holm", "verdict")


def _planned(results: StudyResults, pairs: list[tuple[str, str]]) -> np.ndarray:
    """Return for each pair the number of seeds that either arm has a trial of."""
    seeds = results.trials.groupby("arm")["seed"].agg(set)
    return np.array([len(seeds[arm] | seeds[reference]) for arm, reference in pairs], dtype=np.int64)


def _mean_over_pairs(values: Floats, differences: Floats) -> Floats:
    paired = np.isfinite(differences)
    count = paired.sum(axis=1)
    total = np.where(paired, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def bootstrap_interval(differences: Floats, *, alpha: float = ALPHA, seed: int = 0) -> tuple[float, float, str]:
    """Return a seeded bootstrap interval of the mean and a note where it is not BCa (Efron 1987).

    Differences are resampled whole. With few pairs such intervals are too short; the t interval is the one to trust,
    and this one shows whether skewness would move it.
    """
    if len(differences) < 2:
        return float("nan"), float("nan"), "no interval: fewer than 2 pairs"
    if np.ptp(differences) <= 1e-12:
        return float("nan"), float("nan"), "no interval: all differences are equal"
    note = ""
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            found = stats.bootstrap(
                (differences,),
                np.mean,
                confidence_level=1 - alpha,
                n_resamples=_RESAMPLES,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
        note = "percentile bootstrap: BCa is undefined for these differences"
    return float(found.low), float(found.high), note


def _words(
    results: StudyResults, table: pd.DataFrame, found: PairedEffects, metric: str, rope: float | None
) -> list[str]:
    diverged = share_of_diverged(results)
    family = int(np.isfinite(found.p_t).sum())
    said = []
    for row in table.to_dict("records"):
        figures = {name: row[name] for name in Comparison.__dataclass_fields__ if name in row}
        comparison = Comparison(
            **figures,
            metric=results.metric_record(metric),
            rope=rope,
            family=family,
            diverged=float(diverged[row["arm"]]),
            reference_diverged=float(diverged[row["reference"]]),
        )
        said.append(verdict_words(comparison))
    return said
