"""The sentences of a report: the question, the outcome, the claims that were tested, and the method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.stats.claims import claims
from analysis.stats.effects import VERDICT_RULE
from analysis.stats.pairs import missing_rule
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.config.trial import TrialConfig
from search_spaces.metrics import Metric, split_of

ORDER = ("better", "worse", "equivalent", "undecided")


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
    """Return the table of effects as printed: differences in points (or the metric's unit), p by Holm."""

    def signed(value: float) -> str:
        return "–" if not np.isfinite(value) else f"{value * metric.scale:+.{metric.digits}f}".replace("-", "−")

    return [
        {
            "arm": row.arm,
            "mean": "–" if not np.isfinite(row.mean) else metric.show(row.mean),
            "difference": signed(row.difference),
            "interval": f"{signed(row.low)} to {signed(row.high)}" if np.isfinite(row.low) else "–",
            "n": int(row.n),
            "p": p_text(row.p_holm),
            "verdict": row.verdict,
            "words": row.words,
        }
        for row in rows_of(table)
    ]


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
            "expect": f"{row.arm} {row.expect} {'to' if row.expect == 'equivalent' else 'than'} {row.against}, "
            f"{results.metric_record(row.metric).label}",
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
            f"Each arm against the reference arm “{results.reference_arm}” in {metric.label}, paired by seed "
            f"({len(seeds)} seeds planned). Shown: the mean difference and the 95 % t interval of the "
            "paired differences; p is that of the paired t test, corrected over all arms by Holm's method.",
        ),
        ("Verdicts", f"Region of practical equivalence: ±{rope * metric.scale:g} {metric.difference}. {VERDICT_RULE}"),
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
