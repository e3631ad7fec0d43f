"""A study's report: one HTML file with the question and the verdicts first, then everything in the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.report import facts
from analysis.report.ablation import ablation_context
from analysis.report.compare import write_comparison
from analysis.report.page import render, write_page
from analysis.report.partial import Partial, partial_rows
from analysis.report.search import search_context
from analysis.report.words import question
from analysis.stats.effects import effects
from analysis.store.load import StudyResults

__all__ = ["write_comparison", "write_report"]

SECTIONS = {
    "best": "Best trial",
    "audit": "What early stopping did",
    "effects": "Effects",
    "looks": "Looks",
    "tuned": "Untuned and tuned",
    "factors": "Factors",
    "claims": "Published results",
    "clean": "Training images without augmentation",
    "landscapes": "Loss landscapes",
    "pictures": "Plots",
    "trials": "Trials",
    "partial": "Trials that have not ended",
    "unfinished": "Trials that did not finish",
    "other": "Cells of earlier versions of this study",
    "method": "Method",
    "cost": "Cost and environment",
    "problems": "What could not be read",
    "again": "Run it again",
}
_EMPTY: dict[str, Any] = {
    "summary": "No trial has finished yet, so there is nothing to report.",
    "verdicts": [],
    "effect_rows": [],
    "checks": None,
    "reference_row": None,
    "effects_caption": "",
    "difference_unit": "",
    "correlations": "",
    "test_images": None,
    "claims": [],
    "clean": None,
    "landscapes": None,
    "reported": [],
    "reference_note": "",
    "best": [],
    "audit": None,
    "looks": None,
    "factors": None,
    "tuned": None,
    "arms": [],
    "pictures": [],
    "limits": [],
    "method": [],
    "extra_facts": [],
}


def write_report(
    results: StudyResults,
    out: str | Path,
    table: pd.DataFrame | None = None,
    confirmation: StudyResults | None = None,
    partial: Sequence[Partial] = (),
) -> Path:
    """Write the report of a study and return its path: ``out`` if it ends in .html, else report.html in it.

    ``table`` is that of `analysis.stats.effects.effects` where the caller has it; it is computed if None.
    ``confirmation``: of a search, the results of its best configurations with fresh seeds (`load_confirmation`).
    ``partial``: trials that have not ended, listed with what is known of them.
    """
    own: dict[str, Any] = {}
    if len(results.trials) and results.is_search:
        own = search_context(results, confirmation)
    elif len(results.trials):
        own = ablation_context(results, effects(results) if table is None else table)
    elif len(results.tuning):
        own = {"summary": _still_tuning(results)}
    context = _EMPTY | _common(results) | own
    context["facts"] = [*context["extra_facts"], *context["facts"]]
    context["lost"] = _lost(results)
    context["partial"] = partial_rows(partial, results.metric_record(results.choose_by)) if partial else []
    context["sections"] = [(name, title) for name, title in SECTIONS.items() if _is_shown(name, context)]
    return write_page(render("report.html", context), Path(out), "report.html")


def _is_shown(section: str, context: dict[str, Any]) -> bool:
    names = ("best", "audit", "looks", "tuned", "factors", "clean", "landscapes", "method", "other", "partial")
    fillings = {name: name for name in names} | {"effects": "effect_rows"}
    if section == "claims":
        return bool(context["claims"] or context["reported"])
    return section not in fillings or bool(context[fillings[section]])


def _still_tuning(results: StudyResults) -> str:
    """Return what is known of a tuned ablation of which no arm has been compared yet."""
    return f"{len(results.tuning)} trials of the searches inside the arms have ended; no search is complete yet."


def _common(results: StudyResults) -> dict[str, Any]:
    counts = facts.status_counts(results)
    return {
        "name": results.name,
        "question": question(results),
        "total": len(results.trained),
        "counts": counts,
        "unfinished": facts.unfinished(results),
        "other": facts.other_cells(results),
        "other_metric": results.metric_record().label,
        "chosen_by": results.metric_record(results.choose_by).label,
        "trials": facts.trial_table(results),
        "environment": facts.environment_rows(results),
        "cost": facts.cost(results),
        "arm_costs": facts.arm_costs(results),
        "problems": list(results.problems),
        "command": facts.command(results),
        "dirty": bool(results.environment.get("dirty")),
        "study_yaml": results.study_text,
        "facts": [
            (f"Trials {status}", f"{count} of {len(results.trained)}") for status, count in sorted(counts.items())
        ],
    }


def _lost(results: StudyResults) -> str:
    """Return how many trials did not finish; a pruned trial of a search counts as finished."""
    meant = ("completed", "pruned") if results.is_search else ("completed",)
    lost = {status: n for status, n in facts.status_counts(results).items() if status not in meant}
    kinds = ", ".join(f"{n} {status}" for status, n in lost.items())
    return f"{sum(lost.values())} of {len(results.trained)} trials did not finish ({kinds})" if lost else ""
