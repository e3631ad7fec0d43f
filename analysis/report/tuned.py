"""What the report of a tuned ablation shows in addition: tuned beside untuned, chosen values, budget, warnings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots._words import EQUIVALENT_NOTE, shown_interval
from analysis.plots.style import Styles
from analysis.plots.tuned import draw_budget, draw_tried, draw_tuned, tried_data
from analysis.report.pictures import Gallery
from analysis.stats.budget import budget_curves, crossings
from analysis.stats.tuned import chosen_values, spent, tune_of, tuned_comparison, tuning_warnings
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from analysis.store.tuned import ended_trials
from search_spaces.metrics import Metric, require_direction
from search_spaces.plan import make_plan
from search_spaces.tuned_plan import with_finals

MOST_CHOSEN = 200
"""Rows of the table of chosen values."""
SOURCES = (
    "Choi et al. 2019 (On Empirical Comparisons of Optimizers for Deep Learning), Sivaprasad et al. 2020 (Optimizer "
    "Benchmarking Needs to Account for Hyperparameter Tuning), Dahl et al. 2023 (Benchmarking Neural Network Training "
    "Algorithms), Dodge et al. 2019 (Show Your Work)"
)


def tuned_context(results: StudyResults, table: pd.DataFrame, styles: Styles) -> dict[str, Any]:
    """Return the parts of the page that only a tuned ablation has; ``table`` is `effects` of the tuned arms."""
    compared = tuned_comparison(results, table=table)
    curves = budget_curves(results)
    metric = results.metric_record()
    return {
        "tuned": {
            "caption": f"Difference in {metric.label} from “{results.reference_arm}”, in "
            f"{metric.difference or 'its unit'}, with the 95 % interval ({EQUIVALENT_NOTE}): all arms at their own "
            "values, and all arms tuned with the same budget.",
            "heads": ("Arm", "Untuned", "Verdict", "Tuned", "Verdict", "n"),
            "rows": [_row(row, metric) for row in rows_of(compared)],
            "words": {row.arm: row.words for row in rows_of(compared)},
            "chosen": _chosen(results),
            "budget": _budget(results),
            "crossings": _crossings(results, curves),
            "warnings": [*tuning_warnings(results), *_unfinished(results)],
            "pictures": _gallery(results, compared, curves, styles).figures,
        }
    }


def _row(row: Any, metric: Metric) -> list[str]:
    def shown(prefix: str) -> str:
        difference, (low, high) = getattr(row, f"{prefix}difference"), shown_interval(row, prefix)
        values = [f"{v * metric.scale:+.{metric.digits}f}".replace("-", "−") for v in (difference, low, high)]
        if not np.isfinite(difference):
            return "–"
        mark = " (90 %)" if getattr(row, f"{prefix}verdict") == "equivalent" else ""
        return f"{values[0]} [{values[1]}, {values[2]}]{mark}" if np.isfinite(low) else values[0]

    return [row.arm, shown("untuned_"), row.untuned_verdict, shown("tuned_"), row.tuned_verdict, str(row.tuned_n)]


def _chosen(results: StudyResults) -> dict[str, Any]:
    fields, rows = tune_of(results).all_fields(), []
    metric, chooses = results.metric_record(), results.metric_record(results.choose_by)
    table = chosen_values(results)
    for row in table.head(MOST_CHOSEN).to_dict("records"):
        reached = [
            record.show(row[name]) if np.isfinite(row[name]) else "–"
            for name, record in (("validation", chooses), ("final", metric))
        ]
        values = [_value(row[field]) for field in fields]
        rows.append([row["arm"], str(row["repeat"]), str(row["trial"]), *values, *reached])
    more = f"; the first {MOST_CHOSEN} of {len(table)}" if len(table) > MOST_CHOSEN else ""
    return {
        "caption": f"What each search chose{more}. Trial 0 has the arm's own values. Given are {chooses.label} of the "
        f"chosen trial and {metric.label} of its training with a fresh seed.",
        "heads": ("Arm", "Repeat", "Trial", *fields, chooses.label, metric.label),
        "rows": rows,
    }


def _value(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _budget(results: StudyResults) -> dict[str, Any]:
    table = spent(results)
    rows = [
        [row.arm, str(row.trials), str(row.lost), str(row.epochs), f"{row.hours * 60:.1f}"] for row in rows_of(table)
    ]
    return {
        "caption": "What the searches took: trials that ended, those of them that failed or diverged (they count), "
        "epochs that were trained, and minutes of training.",
        "heads": ("Arm", "Trials", "Lost", "Epochs", "Minutes"),
        "rows": rows,
    }


def _crossings(results: StudyResults, curves: pd.DataFrame) -> list[str]:
    if not len(curves):
        return []
    metric = results.metric_record(results.choose_by)
    found = []
    for arm, trials, above in crossings(curves, results.reference_arm):
        better = above == metric.higher_is_better
        first, second = (arm, results.reference_arm) if better else (results.reference_arm, arm)
        found.append(f"From a budget of {trials} trials on, the mean of {first} is ahead of that of {second}.")
    return found or ["The order of each arm's mean and the reference arm's is the same at every budget."]


def _unfinished(results: StudyResults) -> list[str]:
    """Return a sentence where trials or final cells of the plan are missing."""
    assert results.spec is not None
    higher = require_direction(results.metric_record(results.choose_by))
    known = with_finals(make_plan(results.spec), ended_trials(results.tuning, results.choose_by), higher)
    trained = set(results.trained["digest"])
    missing = len({cell.digest for cell in known.cells} - trained) + known.later  # several arms may share a cell
    words = "1 training of its plan is" if missing == 1 else f"{missing} trainings of its plan are"
    return [f"The study is not complete: {words} missing."] if missing else []


def _gallery(results: StudyResults, compared: pd.DataFrame, curves: pd.DataFrame, styles: Styles) -> Gallery:
    """Return the pictures of the tuned arms; an arm without a final cell has no style yet and is not drawn."""
    gallery, chooses = Gallery("tuned"), results.metric_record(results.choose_by)
    curves = curves[curves["arm"].isin(list(styles))]
    if len(compared):
        gallery.add(draw_tuned(compared, styles, metric=results.metric_record(), rope=results.rope() or 0.0))
    if len(curves):
        gallery.add(draw_budget(curves, styles, metric=chooses))
    tuning = results.tuning[results.tuning["arm"].isin(list(styles))]
    tried = tried_data(tuning, chosen_values(results), tune_of(results).all_fields(), results.choose_by)
    if len(tried):
        gallery.add(draw_tried(tried, styles, metric=chooses))
    return gallery


def tuned_method(results: StudyResults) -> list[tuple[str, str]]:
    """Return (name, sentence) pairs that describe how arms were tuned."""
    tune, chooses = tune_of(results), results.metric_record(results.choose_by).label
    extra = "".join(f" {arm} also tuned {', '.join(domains)}." for arm, domains in tune.extra.items())
    return [
        (
            "Tuning",
            f"Each arm was tuned over {', '.join(tune.space)} with {tune.trials} trials in each of {tune.repeats} "
            f"repeats.{extra} All arms of a repeat had the same points of a scrambled Sobol sequence and the same "
            f"training seed; the first trial has the arm's own values. The best trial by {chooses} was trained again "
            "with a fresh seed, the same in all arms, and that training is compared. Each repeat gives one paired "
            f"difference for each arm. Failed and diverged trials count as trials. Sources: {SOURCES}.",
        )
    ]
