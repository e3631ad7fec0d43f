"""Several studies on one page: the question and outcome of each, settings that differ, arms side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.effects import draw_effects
from analysis.plots.studies import draw_studies, studies_data
from analysis.plots.style import arm_styles
from analysis.report import facts, words
from analysis.report.ablation import reference_row
from analysis.report.page import render, write_page
from analysis.report.pictures import Gallery
from analysis.report.search import best_rows, best_trial, search_summary
from analysis.stats.effects import effects
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError
from search_spaces.metrics import Metric


def write_comparison(studies: Sequence[StudyResults], out: Path) -> Path:
    """Write one page for several studies and return its path: ``out`` if it ends in .html, else comparison.html in it.

    Raises StudyError for fewer than two studies.
    """
    if len(studies) < 2:
        raise StudyError(f"a comparison needs at least two studies, but was given {len(studies)}")
    names = _distinct_names(studies)
    parts = [_study(name, results, index) for index, (name, results) in enumerate(zip(names, studies, strict=True))]
    table, metric = _means(names, studies)
    gallery = Gallery("together")
    if (table["n"] > 0).any():
        gallery.add(draw_studies(table, metric=metric))
    context = {
        "studies": parts,
        "names": names,
        "warnings": _warnings(studies),
        "differences": _differences(studies),
        "shared": _shared(table, names, metric),
        "metric": metric.label,
        "pictures": gallery.figures,
        "sections": [
            ("studies", "Studies"),
            ("settings", "Settings"),
            ("together", "Side by side"),
            *((part["id"], part["name"]) for part in parts),
        ],
    }
    return write_page(render("comparison.html", context), out, "comparison.html")


def _distinct_names(studies: Sequence[StudyResults]) -> list[str]:
    names = [results.name for results in studies]
    return [f"{name} ({place + 1})" if names.count(name) > 1 else name for place, name in enumerate(names)]


def _study(name: str, results: StudyResults, index: int) -> dict[str, Any]:
    completed = facts.status_counts(results).get("completed", 0)
    part: dict[str, Any] = {
        "id": f"study-{index + 1}",
        "name": name,
        "question": words.question(results),
        "mode": "search" if results.is_search else "ablation",
        "chosen_by": results.metric_record(results.choose_by).label,
        "completed": f"{completed} of {len(results.trained)}",
        "arms": len(results.arms),
        "seeds": int(results.trials["seed"].nunique()),
        "cost": facts.cost(results)["Training time, all trials"],
        "sort": {"completed": completed, "cost": float(results.trained["seconds"].sum())},
        "commit": str(results.environment.get("commit") or "unknown")[:12],
        "problems": list(results.problems),
        "summary": "No trial has finished yet.",
        **{name: [] for name in ("rows", "best", "pictures")},
    }
    if not len(results.trials):
        return part
    if part["mode"] == "search":
        best = best_trial(results)
        return part | {"summary": search_summary(results, best), "best": best_rows(results, best)}
    table = effects(results)
    gallery = Gallery(part["id"])
    if len(table):
        styles = arm_styles(results.arms, results.reference_arm)
        metric, rope = results.metric_record(), results.rope() or 0.0
        gallery.add(draw_effects(table, styles, metric=metric, rope=rope, replicate=results.replicate))
    return part | {
        "summary": words.summary(table),
        "caption": f"Effects in {name}, paired by {results.replicate}, {words.TABLE_NOTE}.",
        "rows": words.effect_rows(table, results.metric_record()),
        "reference": reference_row(results),
        "unit": results.metric_record().difference,
        "pictures": gallery.figures,
    }


def _means(names: Sequence[str], studies: Sequence[StudyResults]) -> tuple[pd.DataFrame, Metric]:
    """Return `studies_data` of the ablations in the metric that most of them are about, and that metric."""
    ablations = {
        name: results
        for name, results in zip(names, studies, strict=True)
        if not results.is_search and len(results.trials)
    }
    metrics = [results.metric for results in ablations.values()] or [studies[0].metric]
    metric = max(dict.fromkeys(metrics), key=metrics.count)
    record = next(results for results in studies if results.metric == metric).metric_record()
    with_it = {name: results.trials for name, results in ablations.items() if metric in results.trials.columns}
    return studies_data(with_it, metric), record


def _shared(table: pd.DataFrame, names: Sequence[str], metric: Metric) -> list[dict[str, Any]]:
    """Return one row for each arm that at least two studies have: its mean, interval and n in each."""
    rows = []
    for arm, group in table[table["n"] > 0].groupby("arm", sort=False):
        if len(group) < 2:
            continue
        cells = dict.fromkeys(names, "–")
        for row in rows_of(group):
            interval = f" [{metric.shows(row.low)}, {metric.shows(row.high)}]" if np.isfinite(row.low) else ""
            cells[row.study] = f"{metric.show(row.mean)}{interval}, n = {row.n}"
        rows.append({"arm": arm, "cells": list(cells.values())})
    return rows


def _differences(studies: Sequence[StudyResults]) -> list[tuple[str, list[str]]]:
    """Return the baseline fields (and seeds, ROPE) that are not the same in all studies."""
    compared = {"baseline", "seeds", "metric", "choose_by", "rope", "design"}
    specs = [results.spec.model_dump(mode="json", include=compared) if results.spec else {} for results in studies]
    flat = [dict(facts.flat(spec)) for spec in specs]
    fields = dict.fromkeys(name for one in flat for name in one)
    values = [(name.removeprefix("baseline."), [one.get(name, "–") for one in flat]) for name in fields]
    return [(name, row) for name, row in values if len(set(row)) > 1]


def _warnings(studies: Sequence[StudyResults]) -> list[str]:
    """Return why figures of these studies may not be comparable."""
    found = []
    prints: list[Mapping[str, None]] = [dict.fromkeys(results.trials["fingerprint"]) for results in studies]
    if len({frozenset(one) for one in prints if one}) > 1:
        found.append("The studies were not trained on the same data (their fingerprints differ).")
    metrics = {results.metric for results in studies}
    if len(metrics) > 1:
        found.append(f"Their verdicts are about different metrics: {', '.join(sorted(metrics))}.")
    devices = {device for results in studies for device in results.trials["device"].dropna()}
    if len(devices) > 1:
        found.append(f"They ran on different kinds of device ({', '.join(sorted(devices))}): times cannot be compared.")
    return found
