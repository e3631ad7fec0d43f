"""What each arm does to the metric, against the reference arm or any other, paired by seed, with a verdict in words.

The tests are explained in `analysis.stats.paired`, what withholds a verdict in `analysis.stats.verdicts`, and what
happens to cells without a figure in `analysis.stats.pairs.missing_rule`.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.stats.added_seeds import added_seeds_words
from analysis.stats.collapse import Bools
from analysis.stats.course import Course
from analysis.stats.limits import chance_level, lost_cells, resolution
from analysis.stats.looks import looks_table, verdict_of
from analysis.stats.paired import ALPHA, Floats
from analysis.stats.pairs import metric_table
from analysis.stats.per_image import image_columns
from analysis.stats.robust import Ints
from analysis.stats.simultaneous import simultaneous_intervals
from analysis.stats.stopping import course_of, wanted_seeds
from analysis.stats.verdict_words import Comparison, verdict_words
from analysis.stats.verdicts import Judged, judge
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError, nearest
from search_spaces.metrics import require_direction

VERDICT_RULE = (
    "Better and worse are claimed by the paired t test, equivalent by two one-sided t tests against the region of "
    "practical equivalence, each at 5 % over all comparisons of the table by Holm's method. The exact sign-flip "
    "permutation p is shown beside it for up to 12 pairs. It makes no verdict: with 5 pairs it cannot fall below "
    "0.0625. But where runs collapse or results are uneven, better and worse also need it (6 to 12 pairs), or another "
    "test that allows for this, below 5 %; where the runs of all arms are skewed, a verdict also has to hold for "
    "results of that skewness. A verdict is also withheld where counting lost runs at chance level (or at the worst "
    "observed value) changes it. Everything else is undecided, which is not the same as equal."
)
_RESAMPLES = 9999
_FEWEST_FOR_BCA = 6


def effects(
    results: StudyResults, metric: str | None = None, reference: str | None = None, rope: float | None = None
) -> pd.DataFrame:
    """Return one row for each arm against ``reference`` (the study's reference arm if None).

    Columns: arm, reference, n (pairs), lost (pairs in which a run gave no figure), not_run (pairs in which a run is
    missing so far), mean, reference_mean (over the pairs),
    difference, sd (of the paired differences), low, high (95 % t interval), low90, high90 (90 %, that of the
    equivalence test), bca_low, bca_high (bootstrap interval; interval_note says where it is not a 95 % BCa interval),
    p (exact sign-flip permutation up to 12 pairs, else t), p_t, p_holm (of p_t), equivalent_p (TOST), equivalent_holm,
    beyond_p, beyond_holm (that the difference is larger than the rope), verdict (better, worse, equivalent or
    undecided), withheld (why the t tests' verdict was: collapse, uneven, lost, or empty), warnings, runs,
    reference_runs, collapsed, reference_collapsed, collapsed_p (completed and collapsed runs, Fisher's exact test of
    equal shares), arm_lost, reference_lost, lost_p (the same for runs without a result), correlation (between the
    arms, over seeds), welch_p, welch_low, welch_high (unpaired), max_t_low, max_t_high (95 % for all arms at once;
    NaN unless all are compared with one reference), those of `analysis.stats.per_image.image_columns` (sampling error
    of the test set), words. Differences are arm minus reference, in the metric's own
    unit: accuracies are fractions. In a sequential study the verdicts are those of its looks, each arm has the seeds of
    the look at which it stopped, p_holm, equivalent_holm and beyond_holm are NaN, and the intervals are not adjusted
    for the looks. ``metric`` and ``rope`` are the study's own if None. Raises StudyError for an
    unknown arm or metric.
    """
    chosen = reference or results.reference_arm
    pairs = [(arm, chosen) for arm in results.arms if arm != chosen]
    is_own = metric in (None, results.metric) and chosen == results.reference_arm and rope is None
    return compare_arms(results, pairs, metric, rope, by_rule=is_own)


def pairwise_effects(
    results: StudyResults, metric: str | None = None, arms: Sequence[str] | None = None, rope: float | None = None
) -> pd.DataFrame:
    """Return the columns of `effects` for every two arms, the later against the earlier; Holm's family is all pairs."""
    chosen = list(results.arms if arms is None else arms)
    pairs = [(second, first) for first, second in itertools.combinations(chosen, 2)]
    return compare_arms(results, pairs, metric, rope)


def compare_arms(
    results: StudyResults,
    pairs: list[tuple[str, str]],
    metric: str | None = None,
    rope: float | None = None,
    *,
    by_rule: bool = False,
) -> pd.DataFrame:
    """Return the columns of `effects`, a row for each (arm, reference); Holm's family is the rows.

    ``by_rule``: the verdicts of a sequential study are those of its looks, which are about its own metric and
    reference arm.
    """
    metric = metric or results.metric
    rope = results.rope(metric) if rope is None else rope
    values = metric_table(results, metric)
    for arm in {name for pair in pairs for name in pair} - set(values.index):
        raise StudyError(
            f"arm {arm!r} is not in this study{nearest(arm, values.index)}; it has {', '.join(values.index)}"
        )
    numbers = {arm: number for number, arm in enumerate(values.index)}
    course = course_of(results)
    wanted = wanted_seeds(results, course, list(values.index), [int(seed) for seed in values.columns])
    table_values = np.where(wanted, values.to_numpy(float), np.nan)
    decisions = course.decisions if course is not None and by_rule else None
    step = resolution(results, metric)
    judged = judge(
        table_values,
        [(numbers[arm], numbers[other]) for arm, other in pairs],
        lost=lost_cells(results, values, metric) & wanted,
        verdicts=None if decisions is None else [verdict_of(decisions[arm]) for arm, _ in pairs],
        fill=chance_level(results, metric),
        rope=rope,
        higher_is_better=require_direction(results.metric_record(metric)),
        resolution=step,
    )
    table = _table(pairs, table_values, numbers, judged, step)
    planned, both = _planned(results, values, wanted, pairs)
    table = table.assign(lost=both - table["n"], not_run=planned - both)
    if decisions is not None:
        table[["p_holm", "equivalent_holm", "beyond_holm"]] = np.nan  # of a fixed number of seeds
    table = table.assign(**image_columns(results, pairs, metric))
    table["words"] = _words(results, table, judged, metric, rope, by_rule=decisions is not None)
    if course is not None:
        table["words"] += "; " + _about_looks(results, course, table, by_rule)
    if added := added_seeds_words(results):
        table["words"] += f"; {added}"
    return table


def _about_looks(results: StudyResults, course: Course, table: pd.DataFrame, by_rule: bool) -> pd.Series:
    if by_rule:
        withheld = set(table.loc[table["withheld"] != "", "arm"])
        return table["arm"].map(looks_table(results, course, withheld).set_index("arm")["words"])
    other = f"seeds were added by looks at {results.metric_record().label}, so the error here may be above 5 %"
    return pd.Series(other, index=table.index)


def _table(
    pairs: list[tuple[str, str]], values: Floats, numbers: Mapping[str, int], judged: Judged, step: float
) -> pd.DataFrame:
    """Return the columns of `effects` without the words."""
    found = judged.effects
    arm_values = values[[numbers[arm] for arm, _ in pairs]]
    reference_values = values[[numbers[reference] for _, reference in pairs]]
    differences = arm_values - reference_values
    intervals = [bootstrap_interval(row[np.isfinite(row)]) for row in differences]
    max_t = _max_t(values, pairs, numbers, step)
    return pd.DataFrame(
        {
            "arm": [arm for arm, _ in pairs],
            "reference": [reference for _, reference in pairs],
            "n": found.n,
            "lost": 0,
            "not_run": 0,
            "mean": _mean_over_pairs(arm_values, differences),
            "reference_mean": _mean_over_pairs(reference_values, differences),
            **{name: getattr(found, name) for name in ("difference", "sd", "low", "high", "low90", "high90")},
            "bca_low": [low for low, _, _ in intervals],
            "bca_high": [high for _, high, _ in intervals],
            "interval_note": [note for _, _, note in intervals],
            **{name: getattr(found, name) for name in _TESTED},
            "arm_lost": judged.lost,
            **{name: getattr(judged, name) for name in _JUDGED},
            "max_t_low": max_t[0],
            "max_t_high": max_t[1],
        }
    )


_TESTED = ("p", "p_t", "p_holm", "equivalent_p", "equivalent_holm", "beyond_p", "beyond_holm", "verdict")
_JUDGED = (
    *("withheld", "warnings", "runs", "reference_runs", "collapsed", "reference_collapsed", "collapsed_p"),
    *("reference_lost", "lost_p", "correlation", "welch_p", "welch_low", "welch_high"),
)


def _max_t(
    values: Floats, pairs: list[tuple[str, str]], numbers: Mapping[str, int], step: float
) -> tuple[Floats, Floats]:
    """Return simultaneous intervals where all pairs have one reference and no arm occurs twice, else NaN."""
    arms, references = [numbers[arm] for arm, _ in pairs], {numbers[reference] for _, reference in pairs}
    if len(references) != 1 or len(set(arms)) < len(arms):
        nothing = np.full(len(pairs), np.nan)
        return nothing, nothing
    return simultaneous_intervals(values[[*references, *arms]], 0, resolution=step)


def _planned(
    results: StudyResults, values: pd.DataFrame, wanted: Bools, pairs: list[tuple[str, str]]
) -> tuple[Ints, Ints]:
    """Return for each pair the number of seeds that both arms need and either has a trial of, and that both have."""
    trials = results.trials.groupby("arm")["seed"].agg(set)
    needed = {arm: set(values.columns[row]) for arm, row in zip(values.index, wanted, strict=True)}
    planned, run = np.zeros((2, len(pairs)), np.int64)
    for place, (arm, other) in enumerate(pairs):
        of_both = needed[arm] & needed[other]
        planned[place] = len((trials[arm] | trials[other]) & of_both)
        run[place] = len(trials[arm] & trials[other] & of_both)
    return planned, run


def _mean_over_pairs(values: Floats, differences: Floats) -> Floats:
    paired = np.isfinite(differences)
    count = paired.sum(axis=1)
    total = np.where(paired, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def bootstrap_interval(differences: Floats, *, alpha: float = ALPHA, seed: int = 0) -> tuple[float, float, str]:
    """Return a seeded bootstrap interval of the mean and a note where it is not BCa (Efron 1987).

    Differences are resampled whole. With few pairs such intervals are too short: with 3 to 5 pairs of normal noise
    they cover 73 to 84 % instead of 95 %, and the note says so. The t interval is the one to trust; this one shows
    whether skewness would move it.
    """
    if len(differences) < 2:
        return float("nan"), float("nan"), "no interval: fewer than 2 pairs"
    if np.ptp(differences) <= 1e-12:
        return float("nan"), float("nan"), "no interval: all differences are equal"
    few = f"not a 95 % interval: with {len(differences)} pairs BCa covers 73 to 84 %"
    note = few if len(differences) < _FEWEST_FOR_BCA else ""
    from scipy import stats  # takes most of a second to import

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
    results: StudyResults, table: pd.DataFrame, judged: Judged, metric: str, rope: float | None, *, by_rule: bool
) -> list[str]:
    family = int(np.isfinite(judged.effects.p_t).sum())
    chance_known = chance_level(results, metric) is not None
    sentences = []
    for row in table.to_dict("records"):
        figures = {name: row[name] for name in Comparison.__dataclass_fields__ if name in row}
        comparison = Comparison(
            **figures,
            metric=results.metric_record(metric),
            rope=rope,
            family=family,
            study_collapsed=judged.study_collapsed,
            chance_known=chance_known,
            replicate=results.replicate,
            by_rule=by_rule,
        )
        sentences.append(verdict_words(comparison))
    return sentences
