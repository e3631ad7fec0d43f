"""The sentences of a report: the question, what came out, the claims put to the test, and how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.units import unit_of
from analysis.stats.claims import claims
from analysis.stats.effects import VERDICT_RULE
from analysis.stats.pairs import missing_rule
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults

ORDER = ("better", "worse", "equivalent", "undecided")


def question(results: StudyResults) -> str:
    """Return the study's question, or one made from its factors."""
    asked = str(results.spec.get("question") or "").strip()
    if asked:
        return asked
    names = ", ".join(results.factors) or "the factors"
    return f"What do {names} do to {unit_of(results.metric).name}?"


def summary(table: pd.DataFrame) -> str:
    """Return one sentence that counts the verdicts of an effects table."""
    if not len(table):
        return "There is only one arm with results, so there is nothing to compare it with yet."
    counts = [(verdict, int((table["verdict"] == verdict).sum())) for verdict in ORDER]
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts if count)
    arms = "arm" if len(table) == 1 else "arms"
    return f"{len(table)} {arms} compared with “{table['reference'].iloc[0]}”: {said}."


def effect_rows(table: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """Return the table of effects as printed: differences in points (or the metric's unit), p by Holm."""
    unit = unit_of(metric)

    def signed(value: float) -> str:
        return "–" if not np.isfinite(value) else f"{value * unit.scale:+.{unit.digits}f}".replace("-", "−")

    return [
        {
            "arm": row.arm,
            "mean": "–" if not np.isfinite(row.mean) else unit.show(row.mean),
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
    """Return a p-value as it is written."""
    if not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def claim_rows(results: StudyResults) -> list[dict[str, str]]:
    """Return each claim of the study's reference as printed, with what this study says of it."""
    return [
        {
            "text": row.text,
            "expect": f"{row.arm} {row.expect} {'to' if row.expect == 'equivalent' else 'than'} {row.against}, "
            f"{unit_of(row.metric).name}",
            "outcome": row.verdict,
            "words": row.words,
        }
        for row in rows_of(claims(results))
    ]


def method(results: StudyResults, rope: float) -> list[tuple[str, str]]:
    """Return (name, sentence) pairs that say how the figures were found."""
    unit = unit_of(results.metric)
    seeds = results.spec.get("seeds") or sorted(set(results.trials["seed"]))
    return [
        *_training(results),
        (
            "Comparison",
            f"Each arm against the reference arm “{results.reference_arm}” in {unit.name}, paired by seed "
            f"({len(seeds)} seeds planned). Shown: the mean difference and the 95 % t interval of the "
            "paired differences; p is that of the paired t test, corrected over all arms by Holm's method.",
        ),
        ("Verdicts", f"Region of practical equivalence: ±{rope * unit.scale:g} {unit.difference}. {VERDICT_RULE}"),
        ("Missing values", " ".join(missing_rule(results))),
    ]


def _training(results: StudyResults) -> list[tuple[str, str]]:
    data = _baseline(results, "data")
    share = float(data.get("validation_fraction", 0.2))
    kept = data.get("validation_size")
    size = f", at most {kept} of them" if kept else ""
    return [
        (
            "Splits",
            f"Source “{data.get('source', 'unknown')}”. {share:.0%} of its training images{size} are held out for "
            f"validation, stratified, by split seed {data.get('split_seed', 0)}: the same split for every trial. "
            "The test images take no part in choosing anything.",
        ),
        (
            "Epoch rule",
            "A trial's figures are those of its epoch of best validation accuracy (the earliest of equals). "
            "The test split is evaluated once, at the end, with the model of that epoch.",
        ),
    ]


def search_method(results: StudyResults) -> list[tuple[str, str]]:
    """Return (name, sentence) pairs that say how a search was run."""
    search = results.spec.get("search")
    search = search if isinstance(search, Mapping) else {}
    asha = search.get("asha")
    stopping = (
        f"Asynchronous successive halving: at least {asha.get('grace_period', 1)} epochs for each trial, then one in "
        f"{asha.get('reduction_factor', 3)} goes on at each rung."
        if isinstance(asha, Mapping)
        else "No early stopping: every trial is trained in full."
    )
    return [
        ("Search", f"Searcher “{search.get('searcher', 'unknown')}”, seed {search.get('seed', 0)}. {stopping}"),
        *_training(results),
        (
            "Ranking",
            "Trials are ranked by validation accuracy. The best of many trials looks better than it is: its own "
            "validation figure is biased upwards by the choice, its test figure is not.",
        ),
    ]


def _baseline(results: StudyResults, part: str) -> Mapping[str, Any]:
    baseline = results.spec.get("baseline")
    found = baseline.get(part) if isinstance(baseline, Mapping) else None
    return found if isinstance(found, Mapping) else {}
