"""Several studies on one page: what each asked and found, where their settings differ, arms side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.effects import draw_effects
from analysis.plots.studies import draw_studies, studies_data
from analysis.plots.style import arm_styles
from analysis.plots.units import unit_of
from analysis.report import facts, words
from analysis.report.ablation import reference_row
from analysis.report.page import render, write_page
from analysis.report.pictures import Gallery
from analysis.report.search import best_rows, best_trial, search_summary
from analysis.stats.effects import effects
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError


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
        "metric": unit_of(metric).name,
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
    counts = facts.status_counts(results)
    part: dict[str, Any] = {
        "id": f"study-{index + 1}",
        "name": name,
        "question": words.question(results),
        "mode": str(results.spec.get("mode") or "ablation"),
        "completed": f"{counts.get('completed', 0)} of {len(results.trials)}",
        "arms": len(results.arms),
        "seeds": int(results.trials["seed"].nunique()),
        "cost": facts.cost(results)["Training time, all trials"],
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
        gallery.add(draw_effects(table, styles, metric=results.metric, rope=results.rope() or 0.0))
    return part | {
        "summary": words.summary(table),
        "rows": words.effect_rows(table, results.metric),
        "reference": reference_row(results),
        "unit": unit_of(results.metric).difference,
        "pictures": gallery.figures,
    }


def _means(names: Sequence[str], studies: Sequence[StudyResults]) -> tuple[pd.DataFrame, str]:
    """Return `studies_data` of the ablations in the metric that most of them are about, and that metric."""
    ablations = {
        name: results
        for name, results in zip(names, studies, strict=True)
        if results.spec.get("mode") != "search" and len(results.trials)
    }
    metrics = [results.metric for results in ablations.values()] or ["test_accuracy"]
    metric = max(dict.fromkeys(metrics), key=metrics.count)
    return studies_data({name: results.trials for name, results in ablations.items()}, metric), metric


def _shared(table: pd.DataFrame, names: Sequence[str], metric: str) -> list[dict[str, Any]]:
    """Return one row for each arm that at least two studies have: its mean, interval and n in each."""
    unit, rows = unit_of(metric), []
    for arm, group in table[table["n"] > 0].groupby("arm", sort=False):
        if len(group) < 2:
            continue
        cells = dict.fromkeys(names, "–")
        for row in rows_of(group):
            ends = (row.low * unit.scale, row.high * unit.scale)
            interval = f" [{ends[0]:.{unit.digits}f}, {ends[1]:.{unit.digits}f}]" if np.isfinite(row.low) else ""
            cells[row.study] = f"{unit.show(row.mean)}{interval}, n = {row.n}"
        rows.append({"arm": arm, "cells": list(cells.values())})
    return rows


def _differences(studies: Sequence[StudyResults]) -> list[tuple[str, list[str]]]:
    """Return the baseline fields (and seeds, ROPE) that are not the same in all studies."""
    flat = [
        dict(facts.flat({name: results.spec.get(name) for name in ("baseline", "seeds", "metric", "rope", "design")}))
        for results in studies
    ]
    fields = dict.fromkeys(name for one in flat for name in one)
    values = [(name.removeprefix("baseline."), [one.get(name, "–") for one in flat]) for name in fields]
    return [(name, row) for name, row in values if len(set(row)) > 1]


def _warnings(studies: Sequence[StudyResults]) -> list[str]:
    """Return why figures of these studies may not be comparable."""
    told = []
    prints: list[Mapping[str, None]] = [dict.fromkeys(results.trials["fingerprint"]) for results in studies]
    if len({frozenset(one) for one in prints if one}) > 1:
        told.append("The studies were not trained on the same data (their fingerprints differ).")
    metrics = {results.metric for results in studies}
    if len(metrics) > 1:
        told.append(f"Their verdicts are about different metrics: {', '.join(sorted(metrics))}.")
    devices = {device for results in studies for device in results.trials["device"].dropna()}
    if len(devices) > 1:
        told.append(f"They ran on different kinds of device ({', '.join(sorted(devices))}): times cannot be compared.")
    return told
