"""A study's report: one HTML file that opens with the question and the verdicts, and leaves nothing out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from analysis import report_facts as facts
from analysis import report_words as words
from analysis._rows import rows_of
from analysis.effects import effects
from analysis.load import StudyResults
from analysis.plots.seeds import mean_data, seed_data
from analysis.plots.style import arm_styles
from analysis.plots.units import unit_of
from analysis.report_page import arm_choices, render, write_page
from analysis.report_pictures import ablation_gallery

SECTIONS = [
    ("effects", "Effects"),
    ("claims", "What others reported"),
    ("pictures", "Pictures"),
    ("trials", "Trials"),
    ("unfinished", "Trials that did not finish"),
    ("method", "Method"),
    ("cost", "Cost and environment"),
    ("problems", "What could not be read"),
    ("again", "Run it again"),
]


def write_report(results: StudyResults, out: Path) -> Path:
    """Write the report of a study and return its path: ``out`` if it ends in .html, else report.html in it."""
    part = _ablation(results)
    context = _common(results) | part
    empty = {name for name, rows in (("effects", part["effect_rows"]), ("claims", part["claims"])) if not rows}
    context["sections"] = [(id, name) for id, name in SECTIONS if id not in empty]
    return write_page(render("report.html", context), out, "report.html")


def _ablation(results: StudyResults) -> dict[str, Any]:
    metric, rope = results.metric, results.rope() or 0.0
    table = effects(results) if len(results.trials) else pd.DataFrame()
    styles = arm_styles(results.arms, results.reference_arm if results.arms else None)
    gallery = ablation_gallery(results, table, styles, rope)
    rows = words.effect_rows(table, metric)
    unit = unit_of(metric)
    return {
        "summary": words.summary(table),
        "verdicts": rows,
        "effect_rows": rows,
        "reference_row": _reference_row(results),
        "effects_caption": f"{unit.name.capitalize()} of each arm, and its difference from the reference arm, "
        "paired by seed.",
        "difference_unit": unit.difference,
        "claims": words.claim_rows(results),
        "reported": [],
        "reference_note": "",
        "arms": arm_choices(styles) if gallery.figures else [],
        "pictures": gallery.figures,
        "limits": gallery.limits,
        "method": words.method(results, rope) if results.arms else [],
        "facts": [
            ("Arms", str(len(results.arms))),
            ("Seeds", str(results.trials["seed"].nunique())),
            *_trial_facts(results),
            ("Metric", unit.name),
            ("Too small to matter", f"within {rope * unit.scale:g} {unit.difference}"),
        ],
    }


def _reference_row(results: StudyResults) -> dict[str, Any] | None:
    if not results.arms:
        return None
    seeds = seed_data(results.trials, results.metric)
    row = next(rows_of(mean_data(seeds[seeds["arm"] == results.reference_arm])))
    shown = unit_of(results.metric).show(row.mean) if row.n else "–"
    return {"arm": results.reference_arm, "mean": shown, "n": row.n}


def _trial_facts(results: StudyResults) -> list[tuple[str, str]]:
    done = int((results.trials["status"] == "completed").sum())
    return [("Trials completed", f"{done} of {len(results.trials)}")]


def _common(results: StudyResults) -> dict[str, Any]:
    counts = facts.status_counts(results)
    return {
        "name": results.name,
        "question": words.question(results),
        "total": len(results.trials),
        "counts": counts,
        "unfinished": facts.unfinished(results),
        "unfinished_counts": ", ".join(f"{n} {status}" for status, n in counts.items() if status != "completed"),
        "trials": facts.trial_table(results),
        "environment": facts.environment_rows(results),
        "cost": facts.cost(results),
        "problems": list(results.problems),
        "command": facts.command(results),
        "dirty": bool(results.environment.get("dirty")),
        "study_yaml": facts.study_yaml(results),
    }
