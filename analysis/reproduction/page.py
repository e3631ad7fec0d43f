"""The summary of a reproduction: one self-contained HTML page, the same in Markdown, and the tables as Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.plots.curves import curve_data, curve_metrics, draw_overlay
from analysis.plots.landscape import draw_landscapes
from analysis.plots.quantiles import draw_quantiles, quantile_data
from analysis.plots.reported import draw_reported
from analysis.plots.style import Styles, arm_styles
from analysis.report import words
from analysis.report.facts import cost, status_counts
from analysis.report.page import render, write_page
from analysis.report.pictures import Gallery
from analysis.report.search import best_rows, best_trial, search_summary
from analysis.report.tables import escaped_markdown as plain
from analysis.report.tables import to_markdown
from analysis.reproduction.compute import (
    all_claims,
    all_figures,
    printed_claims,
    printed_figures,
    source_of,
    summary,
    write_summaries,
)
from analysis.stats.claims import RULE, stated_figures
from analysis.stats.effects import effects
from analysis.stats.flatness import surface_data
from analysis.stats.means import reported_data
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError
from search_spaces.files import write_file

FIGURES_NOTE = (
    "Theirs is one run by its author unless noted; ours is the mean over completed trials with its 95 % t interval. "
    "Where settings differ, and they do in every size but full, the order of the arms is what can be compared."
)


def write_reproduction(studies: Sequence[StudyResults], out: Path, data_name: str = "", size: str = "") -> list[Path]:
    """Write reproduction.html, reproduction.md, claims.parquet and figures.parquet into ``out``; return their paths.

    ``data_name`` says which data the studies ran on, ``size`` which of their sizes was run. Raises StudyError where
    there is no study.
    """
    if not studies:
        raise StudyError("there is no study to summarise; name at least one")
    tested, figures = all_claims(studies), all_figures(studies)
    context: dict[str, Any] = {
        "summary": summary(tested),
        "setting": setting(studies, data_name, size),
        "claims": printed_claims(tested, studies),
        "figures": printed_figures(figures, studies),
        "rule": RULE,
        "figures_note": FIGURES_NOTE,
        "studies": [_study(results, index) for index, results in enumerate(studies, start=1)],
    }
    context["study_ids"] = {study["name"]: study["id"] for study in context["studies"]}
    page = write_page(render("reproduction.html", context | {"sections": _sections(context)}), out, "reproduction.html")
    text = write_file(page.with_suffix(".md"), markdown(context))
    return [page, text, *write_summaries(studies, page.parent)]


def setting(studies: Sequence[StudyResults], data_name: str, size: str) -> str:
    """Return a sentence about what was run, on which data."""
    prints = sorted({str(name) for results in studies for name in results.trials["fingerprint"]})
    known = f"fingerprint{'' if len(prints) == 1 else 's'} {', '.join(prints)}" if prints else "no trial yet"
    data = f"{data_name} ({known})" if data_name else known
    trials = sum(len(results.trained) for results in studies)
    chosen = f"size {size}, " if size else ""
    count = f"{len(studies)} {'study' if len(studies) == 1 else 'studies'}"
    return f"{count}, {chosen}{trials} trials. Data: {data}."


def markdown(context: Mapping[str, Any]) -> str:
    """Return the page's words and tables as GitHub-flavoured Markdown; HTML in a study's words is escaped."""
    parts = ["# Reproduction", context["summary"], plain(context["setting"]), "## Claims", context["rule"]]
    parts += [to_markdown(context["claims"]), "## Figures", context["figures_note"], to_markdown(context["figures"])]
    for study in context["studies"]:
        lines = [f"## {plain(study['name'])}", plain(study["question"]), plain(study["summary"])]
        lines += [plain(f"{study['source']}. {study['note']}".strip())] if study["source"] else []
        lines += [f"{study['completed']} trials completed; training time {study['cost']}."]
        best = "\n".join(f"- {plain(name)}: {plain(str(value))}" for name, value in study["best"])
        parts += [*lines, *([best] if best else [])]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    studies = [(study["id"], study["name"]) for study in context["studies"]]
    return [("claims", "Claims"), ("figures", "Figures"), *studies]


def _study(results: StudyResults, index: int) -> dict[str, Any]:
    source, table = source_of(results)
    reference = results.spec.reference if results.spec is not None else None
    gallery = Gallery(f"study-{index}-picture")
    is_search = results.is_search
    best = best_trial(results) if is_search and len(results.trials) else None
    if len(results.trials) and not is_search:
        _add_pictures(gallery, results, arm_styles(results.arms, results.reference_arm))
    return {
        "id": f"study-{index}",
        "name": results.name,
        "question": words.question(results),
        "source": f"Source {source}, {table}" if source else "",
        "note": reference.note if reference is not None else "",
        "chosen_by": results.metric_record(results.choose_by).label,
        "summary": search_summary(results, best) if is_search else _verdicts(results),
        "completed": f"{status_counts(results).get('completed', 0)} of {len(results.trained)}",
        "cost": cost(results)["Training time, all trials"],
        "best": best_rows(results, best) if best else [],
        "pictures": gallery.figures,
        "problems": list(results.problems),
    }


def _verdicts(results: StudyResults) -> str:
    return words.summary(effects(results)) if len(results.trials) else "No trial has finished yet."


def _add_pictures(gallery: Gallery, results: StudyResults, styles: Styles) -> None:
    """Add published and measured figures, learning curves, quantiles of a study that is about them, landscapes."""
    table = reported_data(results.trials, stated_figures(results))
    if (table["metric"] == results.metric).any():
        gallery.add(draw_reported(table, styles, metric=results.metric_record()))
    records = curve_metrics(results)
    curves = curve_data(results.epochs, records)
    if len(curves):
        gallery.add(draw_overlay(curves, styles, records), hover=(curves, styles, records))
    quantiles = _quantiles(results)
    if len(quantiles):
        gallery.add(draw_quantiles(quantiles, styles))
    surfaces = _surfaces(results)
    if surfaces:
        gallery.add(draw_landscapes(surfaces))


def _quantiles(results: StudyResults) -> pd.DataFrame:
    """Return the features' quantiles of a study that probes its norms' inputs too, and so is about them."""
    is_about_them = results.spec is not None and results.spec.probes.norm_inputs
    return quantile_data(results.quantiles if is_about_them else results.quantiles.head(0))


def _surfaces(results: StudyResults) -> dict[str, Any]:
    """Return the first loss surface of each arm."""
    first = results.landscape.drop_duplicates("arm")[["arm", "digest", "surface"]]
    return {
        arm: surface_data(results.landscape, digest, surface)
        for arm, digest, surface in first.itertuples(index=False, name=None)
    }
