"""What the report of a search shows: the best trial by validation, how it was found, who was stopped where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.contour import draw_contour
from analysis.plots.history import draw_history, history_data
from analysis.plots.importance import draw_importance
from analysis.plots.parallel import draw_parallel, search_data
from analysis.plots.rungs import draw_rung_curves, draw_rungs, rung_data
from analysis.plots.slices import draw_slices
from analysis.plots.units import unit_of
from analysis.report import words
from analysis.report.facts import selection_metric
from analysis.report.pictures import Gallery, add_timeline
from analysis.stats.importance import importances
from analysis.stats.pruning import SURVIVORS, estimated_ends, rank_correlations
from analysis.store._rows import rows_of
from analysis.store.load import FACTOR, StudyResults
from search_spaces.errors import StudyError

MOST_CURVES = 200
MOST_CELLS = 5000


def search_context(results: StudyResults) -> dict[str, Any]:
    """Return the parts of the page that are a search's own."""
    gallery = search_gallery(results)
    best = best_trial(results)
    return {
        "summary": search_summary(results, best),
        "best": best_rows(results, best),
        "arms": [],
        "audit": audit(results),
        "pictures": gallery.figures,
        "limits": gallery.limits,
        "method": words.search_method(results),
        "extra_facts": [("Trials", str(len(results.trials))), ("Ranked by", unit_of(selection_metric(results)).name)],
    }


def best_trial(results: StudyResults) -> dict[str, Any] | None:
    """Return the row of the completed trial of best validation accuracy (the earliest of equals), if there is one."""
    metric = selection_metric(results)
    done = results.trials[(results.trials["status"] == "completed") & results.trials[metric].notna()]
    if not len(done):
        return None
    best: dict[Any, Any] = done.sort_values(metric, ascending=False, kind="stable").iloc[0].to_dict()
    return {str(name): value for name, value in best.items()}


def best_rows(results: StudyResults, best: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return the values of the best trial as (name, text) pairs: what was searched, then what it reached."""
    if best is None:
        return []
    searched = [(name, _value(best.get(FACTOR + name))) for name in results.factors]
    metrics = dict.fromkeys([selection_metric(results), results.metric, "test_accuracy", "test_loss"])
    reached = [(unit_of(name).name, unit_of(name).show(best[name])) for name in metrics if np.isfinite(best[name])]
    cost = [
        ("epochs, best of all", f"{best['best_epoch']:.0f} of {best['epochs_trained']:.0f}"),
        ("seed", str(best["seed"])),
    ]
    return [*searched, *reached, *cost, ("digest", str(best["digest"]))]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def search_summary(results: StudyResults, best: dict[str, Any] | None) -> str:
    """Return the best trial in a sentence, with what tempers it."""
    if best is None:
        return "No trial was trained in full yet, so there is no best one."
    metric = selection_metric(results)
    test = best["test_accuracy"]
    held_out = (
        f"; on the test split, which chose nothing, {unit_of('test_accuracy').show(test)}" if np.isfinite(test) else ""
    )
    return (
        f"The best of {len(results.trials)} trials is “{best['arm']}”, with {unit_of(metric).show(best[metric])} "
        f"{unit_of(metric).name}{held_out}. One run each: how much of that is chance, only further seeds can say."
    )


def search_gallery(results: StudyResults) -> Gallery:
    """Return the pictures of a search."""
    gallery, metric = Gallery(), selection_metric(results)
    search = search_data(results.trials, results.factors, metric)
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
                f"Of {len(search)} trials, pictures draw a part where they say so; every trial is in the results store."
            )
    found = importances(results, metric)
    if len(found.table):
        gallery.add(draw_importance(found.table, found.trials, notes=found.warnings))
    else:
        gallery.limits.append(f"Importances are not drawn: {'; '.join(found.warnings)}.")
    add_timeline(gallery, results)
    return gallery


def audit(results: StudyResults) -> dict[str, Any] | None:
    """Return what early stopping did: rank correlations of each rung with the end, and where pruned trials would be."""
    if not (results.trials["status"] == "pruned").any():
        return None
    table = rank_correlations(results)
    rows = [
        [f"epoch {row.rung}", str(row.n), *("–" if np.isnan(v) else f"{v:.2f}" for v in (row.spearman, row.kendall))]
        for row in rows_of(table)
    ]
    return {"rows": rows, "sentences": [SURVIVORS, _ends(results)]}


def _ends(results: StudyResults) -> str:
    """Return where the pruned trials would have ended; a matrix too large to be completed in seconds is left out."""
    trials = results.trials
    cells = len(trials) * int(trials["epochs_planned"].max())
    if cells > MOST_CELLS:
        return (
            f"Where the pruned trials would have ended is not estimated here: {len(trials)} trials are too many for a "
            "page that should be ready in seconds; `analysis.stats.pruning.estimated_ends` does it in minutes."
        )
    try:
        told = estimated_ends(results).words
    except StudyError as reason:
        told = str(reason)
    return f"{told[0].upper()}{told[1:]}."


def _varied(search: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Return the numeric fields with the most distinct values first."""
    numeric = [name for name in names if pd.api.types.is_numeric_dtype(search[name]) and search[name].nunique() > 3]
    return sorted(numeric, key=lambda name: -search[name].nunique())
