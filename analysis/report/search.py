"""What the report of a search shows: the best trial, how it was found, which trials were stopped at which epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots._words import sentence_case
from analysis.plots.contour import draw_contour
from analysis.plots.history import draw_history, history_data
from analysis.plots.importance import draw_importance
from analysis.plots.parallel import draw_parallel, search_data
from analysis.plots.rungs import draw_rung_curves, draw_rungs, rung_data
from analysis.plots.slices import draw_slices
from analysis.report import words
from analysis.report.ablation import reference_row
from analysis.report.facts import by_rank
from analysis.report.pictures import Gallery, add_timeline
from analysis.stats.effects import effects
from analysis.stats.pruning import SURVIVORS, estimated_ends, rank_correlations
from analysis.store._rows import level_text, rows_of
from analysis.store.load import FACTOR, StudyResults
from search_spaces.errors import StudyError
from search_spaces.metrics import Metric, split_of

MOST_CURVES = 200
MOST_CELLS = 5000


def search_context(results: StudyResults, confirmation: StudyResults | None = None) -> dict[str, Any]:
    """Return the parts of the page that only a search has; it leads with the ``confirmation`` where there is one."""
    gallery, chosen = search_gallery(results), results.metric_record(results.choose_by).label
    best = best_trial(results)
    return _confirmed(confirmation) | {
        "summary": _lead(confirmation) + search_summary(results, best),
        "best": best_rows(results, best),
        "arms": [],
        "audit": audit(results),
        "pictures": gallery.figures,
        "limits": gallery.limits,
        "method": words.search_method(results),
        "extra_facts": [("Trials", str(len(results.trials))), ("Ranked by", chosen)],
    }


def _confirmed(confirmation: StudyResults | None) -> dict[str, Any]:
    """Return the verdicts on the best configurations, trained again with fresh seeds, as the page shows them."""
    if confirmation is None or not len(confirmation.trials):
        return {}
    table, metric = effects(confirmation), confirmation.metric_record()
    rows = words.effect_rows(table, metric)
    return {
        "verdicts": rows,
        "effect_rows": rows,
        "reference_row": reference_row(confirmation),
        "difference_unit": metric.difference,
        "effects_caption": f"Confirmation: {metric.label} of the best configurations, trained again with fresh seeds, "
        f"and its difference from the baseline of the search, paired by seed, {words.TABLE_NOTE}.",
    }


def _lead(confirmation: StudyResults | None) -> str:
    if confirmation is None or not len(confirmation.trials):
        return ""
    seeds = confirmation.trials["seed"].nunique()
    return f"Trained again with {seeds} fresh seeds: {words.summary(effects(confirmation))} "


def best_trial(results: StudyResults) -> dict[str, Any] | None:
    """Return the row of the completed trial that is best by `choose_by` (the first of equals); None without one."""
    found, _ = best_trials(results, 1)
    return {str(name): value for name, value in found.iloc[0].to_dict().items()} if len(found) else None


def best_trials(results: StudyResults, number: int) -> tuple[pd.DataFrame, list[Metric]]:
    """Return the rows of the best completed trials by `choose_by`, the best first, and the metrics to show of them.

    The metrics are `choose_by`, the study's metric, and at most two of the test split. No rows where `choose_by` has no
    direction.
    """
    metric = results.metric_record(results.choose_by)
    done = results.trials[(results.trials["status"] == "completed") & results.trials[metric.name].notna()]
    if metric.higher_is_better is None:
        done = done.head(0)
    best = by_rank(done, metric).head(number)
    names = dict.fromkeys([results.choose_by, results.metric, *_test_metrics(results)])
    shown = [name for name in names if name in best and np.isfinite(best[name].astype(float)).all()]
    return best, list(results.metric_records(shown).values())


def best_rows(results: StudyResults, best: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return the values of the best trial as (name, text) pairs: what was searched, then what it reached."""
    if best is None:
        return []
    searched = [(name, search_value(best.get(FACTOR + name))) for name in results.factors]
    names = dict.fromkeys([results.choose_by, results.metric, *_test_metrics(results)])
    records = results.metric_records(name for name in names if np.isfinite(best.get(name, np.nan)))
    reached = [(record.label, record.show(best[name])) for name, record in records.items()]
    cost = [
        ("best epoch, of all epochs", f"{best['best_epoch']:.0f} of {best['epochs_trained']:.0f}"),
        ("seed", str(best["seed"])),
    ]
    return [*searched, *reached, *cost, ("digest", str(best["digest"]))]


def _test_metrics(results: StudyResults) -> list[str]:
    """Return the metrics of the test split that the report of a search shows: at most two, of any quantity."""
    columns = results.trials.select_dtypes("float").columns
    return [name for name in columns if split_of(name) == "test"][:2]


def search_value(value: object) -> str:
    """Return a value of a search as text."""
    return f"{value:.4g}" if isinstance(value, float) and not np.isnan(value) else level_text(value)


def search_summary(results: StudyResults, best: dict[str, Any] | None) -> str:
    """Return the best trial in a sentence, and what its value does not show."""
    if best is None:
        return "No trial was trained in full yet, so there is no best one."
    metric = results.metric_record(results.choose_by)
    test = results.metric_record(f"test_{metric.quantity}")
    value = best.get(test.name, np.nan)
    held_out = f"; on the test split, which chose nothing, {test.show(value)}" if np.isfinite(value) else ""
    return (
        f"The best of {len(results.trials)} trials is “{best['arm']}”, with {metric.show(best[metric.name])} "
        f"{metric.label}{held_out}. Each was trained once: only further seeds can show how much of that is chance."
    )


def search_gallery(results: StudyResults) -> Gallery:
    """Return the pictures of a search."""
    gallery, metric = Gallery(), results.metric_record(results.choose_by)
    search = search_data(results.trials, results.factors, metric.name)
    if len(search):
        gallery.add(draw_history(history_data(results.trials, metric), metric=metric))
        gallery.add(draw_rungs(rung_data(results.trials)))
    if len(results.epochs):
        gallery.add(draw_rung_curves(results.epochs, metric=metric, most=MOST_CURVES))
    if len(search):
        gallery.add(draw_parallel(search, metric=metric), draw_slices(search, metric=metric))
        numeric = _varied(search, results.factors)
        if len(numeric) > 1:
            gallery.add(draw_contour(search, numeric[0], numeric[1], metric=metric))
        if len(search) > 500:
            gallery.limits.append(
                f"Of {len(search)} trials, some plots show a part and say so; every trial is in the results store."
            )
    from analysis.stats.importance import importances  # Optuna's take half a second to import

    found = importances(results, metric.name)
    if len(found.table):
        gallery.add(draw_importance(found.table, found.trials, notes=found.warnings))
    else:
        gallery.limits.append(f"Importances are not drawn: {'; '.join(found.warnings)}.")
    add_timeline(gallery, results)
    return gallery


def audit(results: StudyResults) -> dict[str, Any] | None:
    """Return rank correlations of the rungs with the last epoch, and estimates for pruned trials; None without any."""
    if not (results.trials["status"] == "pruned").any():
        return None
    table = rank_correlations(results)
    rows = [
        [f"epoch {row.rung}", str(row.n), *("–" if np.isnan(v) else f"{v:.2f}" for v in (row.spearman, row.kendall))]
        for row in rows_of(table)
    ]
    return {"rows": rows, "sentences": [SURVIVORS, _ends(results)]}


def _ends(results: StudyResults) -> str:
    """Return a sentence about the estimated last values of pruned trials; none for a matrix that takes minutes."""
    trials = results.trials
    cells = len(trials) * int(trials["epochs_planned"].max())
    if cells > MOST_CELLS:
        return (
            f"The values that pruned trials would have at the last epoch are not estimated here: for {len(trials)} "
            "trials that takes minutes; `analysis.stats.pruning.estimated_ends` does it."
        )
    try:
        words = estimated_ends(results).words
    except StudyError as reason:
        words = str(reason)
    return f"{sentence_case(words)}."


def _varied(search: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Return the numeric fields with the most distinct values first."""
    numeric = [name for name in names if pd.api.types.is_numeric_dtype(search[name]) and search[name].nunique() > 3]
    return sorted(numeric, key=lambda name: -search[name].nunique())
