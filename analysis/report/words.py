"""The sentences of a report: the question, the outcome, the claims that were tested, and the method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis.plots._words import shown_interval
from analysis.stats.claims import claims, how_tested
from analysis.stats.effects import VERDICT_RULE
from analysis.stats.paired import MOST_EXACT
from analysis.stats.pairs import missing_rule
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.config.trial import TrialConfig
from search_spaces.metrics import Metric, split_of

ORDER = ("better", "worse", "equivalent", "undecided")
TABLE_NOTE = (
    "with the 95 % t interval of each one, and p corrected over the arms by Holm's method (of “equivalent”: the 90 % "
    "interval and the p of the equivalence test)"
)
"""What the caption of a table of effects says about its intervals and p."""


def question(results: StudyResults) -> str:
    """Return the study's question, or one made from its factors."""
    asked = results.spec.question.strip() if results.spec is not None else ""
    if asked:
        return asked
    names = ", ".join(results.factors) or "the factors"
    return f"What {'does' if len(results.factors) == 1 else 'do'} {names} do to {results.metric_record().label}?"


def summary(table: pd.DataFrame) -> str:
    """Return one sentence that counts the verdicts of an effects table."""
    if not len(table):
        return "There is only one arm with results, so there is nothing to compare it with yet."
    counts = [(verdict, int((table["verdict"] == verdict).sum())) for verdict in ORDER]
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts if count)
    arms = "arm" if len(table) == 1 else "arms"
    return f"{len(table)} {arms} compared with “{table['reference'].iloc[0]}”: {said}."


def effect_rows(table: pd.DataFrame, metric: Metric) -> list[dict[str, Any]]:
    """Return the table of effects as printed: differences in points (or the metric's unit), p by Holm.

    ``interval`` is the 95 % t interval; for "equivalent" the 90 % interval that its test rests on, marked as such.
    ``p`` is that of the paired t test; for "equivalent" that of the two one-sided t tests.
    """
    return [
        {
            "arm": row.arm,
            "mean": "–" if not np.isfinite(row.mean) else metric.show(row.mean),
            "difference": _signed(row.difference, metric),
            "interval": _ends(*shown_interval(row), metric)
            + (" (90 %)" if row.verdict == "equivalent" and np.isfinite(row.low90) else ""),
            "n": int(row.n),
            "p": p_text(row.equivalent_holm if row.verdict == "equivalent" else row.p_holm),
            "verdict": row.verdict,
            "words": row.words,
        }
        for row in rows_of(table)
    ]


def check_table(table: pd.DataFrame, metric: Metric, replicate: str = "seed") -> dict[str, Any]:
    """Return the figures beside the paired comparison as printed: simultaneous intervals, Welch's test, correlation.

    Counts of collapsed and lost runs are columns only where there are any. Keys: heads, rows, note.
    """
    shown: dict[str, Callable[[Any], str]] = {
        "Arm": lambda row: str(row.arm),
        "All arms at once (max-t)": lambda row: _ends(row.max_t_low, row.max_t_high, metric),
        "Unpaired (Welch)": lambda row: _ends(row.welch_low, row.welch_high, metric),
        "Correlation": lambda row: (
            "–" if not np.isfinite(row.correlation) else f"{row.correlation:.2f}".replace("-", "−")
        ),
        "p paired": lambda row: p_text(row.p_t),
        "p Welch": lambda row: p_text(row.welch_p),
        "p sign flips": lambda row: p_text(row.p) if row.n <= MOST_EXACT else "–",
    }
    note = (
        "The max-t intervals hold for all arms of the table at once with 95 %; the intervals above are of one arm "
        f"each. Welch's test ignores the pairing by {replicate}. The correlation is that of the arm with the reference "
        f"arm over {replicate}s; pairing makes a comparison more precise where it is clearly above 0. The "
        f"sign-flip test is exact and is run for up to {MOST_EXACT} pairs. These p are not corrected for the number of "
        "arms."
    )
    counts: dict[str, Callable[[Any], str]] = {}
    if (table["collapsed"] + table["reference_collapsed"]).any():
        counts["Collapsed"] = lambda row: _against(
            row.collapsed, row.runs, row.reference_collapsed, row.reference_runs, row.collapsed_p
        )
    if (table["arm_lost"] + table["reference_lost"]).any():
        counts["Lost"] = lambda row: _against(
            row.arm_lost,
            row.runs + row.arm_lost,
            row.reference_lost,
            row.reference_runs + row.reference_lost,
            row.lost_p,
        )
    if counts:
        note += " Counts of runs are those of the arm, then of the reference arm, with the p of Fisher's exact test."
    shown |= counts
    rows = [[cell(row) for cell in shown.values()] for row in rows_of(table)]
    return {"heads": tuple(shown), "rows": rows, "note": note}


def _against(count: int, runs: int, reference_count: int, reference_runs: int, p: float) -> str:
    return f"{count} of {runs}, {reference_count} of {reference_runs} (p = {p:.2g})"


def _signed(value: float, metric: Metric) -> str:
    return "–" if not np.isfinite(value) else f"{value * metric.scale:+.{metric.digits}f}".replace("-", "−")


def _ends(low: float, high: float, metric: Metric) -> str:
    return f"{_signed(low, metric)} to {_signed(high, metric)}" if np.isfinite(low) and np.isfinite(high) else "–"


def p_text(value: float) -> str:
    """Return a p-value as text."""
    if not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def claim_rows(results: StudyResults) -> list[dict[str, str]]:
    """Return each claim of the study's reference as printed, with the outcome of its test."""
    return [
        {
            "text": row.text,
            "expect": how_tested(row, results.metric_record(row.metric).label),
            "outcome": row.verdict,
            "words": row.words,
        }
        for row in rows_of(claims(results))
    ]


def method(results: StudyResults, rope: float) -> list[tuple[str, str]]:
    """Return (name, sentence) pairs that describe how the figures were computed."""
    metric = results.metric_record()
    seeds = results.spec.seeds if results.spec is not None else sorted(set(results.trials["seed"]))
    return [
        *_training(results),
        (
            "Comparison",
            f"Each arm against the reference arm “{results.reference_arm}” in {metric.label}, paired by "
            f"{results.replicate} ({len(seeds)} {results.replicate}s planned). Shown: the mean difference and the "
            "95 % t interval of the paired differences; p is that of the paired t test, corrected over all arms by "
            "Holm's method. A verdict of “equivalent” has the 90 % interval and the p of its own test, two one-sided t "
            "tests, corrected in the same way.",
        ),
        ("Verdicts", f"Region of practical equivalence: ±{metric.amount(rope)}. {VERDICT_RULE}"),
        ("Missing values", " ".join(missing_rule(results))),
    ]


def selection(results: StudyResults) -> str:
    """Return which metric chooses the epoch, the rungs and the best trial, and which one the verdicts are about."""
    chosen, own = results.metric_record(results.choose_by), results.metric_record()
    direction = {True: "higher is better", False: "lower is better", None: "no direction declared"}
    what = "The best epoch of a trial"
    if results.is_search:
        what += ", the trials that continue at a rung, the best trial, importances and estimates"
    rest = f" The verdicts are about {own.label}." if not results.is_search else ""
    unseen = " The test split takes no part in any choice." if split_of(own.name) == "test" else ""
    verb = "are" if results.is_search else "is"
    return f"{what} {verb} chosen by {chosen.label} ({direction[chosen.higher_is_better]}).{rest}{unseen}"


def _training(results: StudyResults) -> list[tuple[str, str]]:
    chosen = results.metric_record(results.choose_by).label
    epoch_rule = (
        f"A trial's figures are those of its epoch of best {chosen} (the earliest of equals). The test split is "
        "evaluated once, at the end, with the model of that epoch."
    )
    return [*_what_was_trained(results), ("Selection", selection(results)), ("Epoch rule", epoch_rule)]


_SPLITS = {
    "per_seed": "each seed has its own split, the same in all arms; the test images are the same in all trials",
    "fixed": "the split of split seed {} is the same in every trial",
}


def _what_was_trained(results: StudyResults) -> list[tuple[str, str]]:
    if results.spec is None:
        return []
    if results.spec.task is not None:
        return [("Training", f"Function “{results.spec.task.run}”, for {results.spec.baseline.epochs} epochs.")]
    assert isinstance(results.spec.baseline, TrialConfig)
    data = results.spec.baseline.data
    size = f", at most {data.validation_size} of them" if data.validation_size else ""
    return [
        (
            "Splits",
            f"Source “{data.source}”. {data.validation_fraction:.0%} of its training images{size} are held out for "
            f"validation, stratified; {_SPLITS[data.split].format(data.split_seed)}.",
        )
    ]


def search_method(results: StudyResults) -> list[tuple[str, str]]:
    """Return (name, sentence) pairs that describe how a search was run."""
    chosen = results.metric_record(results.choose_by).label
    ranking = (
        f"Trials are ranked by {chosen}. The best of many trials looks better than it is: its own value of that metric "
        "is biased by the choice, its test value is not."
    )
    return [*_search(results), *_training(results), ("Ranking", ranking)]


def _search(results: StudyResults) -> list[tuple[str, str]]:
    if results.spec is None:
        return []
    search, asha = results.spec.search, results.spec.search.asha
    stopping = "No early stopping: every trial is trained in full."
    if asha is not None:
        stopping = (
            f"Asynchronous successive halving: at least {asha.grace_period} epochs for each trial, then one in "
            f"{asha.reduction_factor} continues at each rung."
        )
    return [("Search", f"Searcher “{search.searcher}”, seed {search.seed}. {stopping}")]
