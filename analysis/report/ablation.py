"""What the report of an ablation shows: verdicts, table of effects, claims, published figures, plots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots._words import sentence_case
from analysis.plots.style import arm_styles
from analysis.report import words
from analysis.report.looks import looks_context, looks_method
from analysis.report.page import arm_choices
from analysis.report.pairing import correlation_sentence, image_table
from analysis.report.pictures import ablation_gallery, reported_gallery
from analysis.report.tuned import tuned_context, tuned_method
from analysis.report.words import p_text
from analysis.stats.derived import with_metric
from analysis.stats.flatness import common_surface, landscape_measures
from analysis.stats.means import mean_data, seed_data
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.errors import StudyError
from search_spaces.metrics import LANDSCAPE_METRICS, Metric


def ablation_context(results: StudyResults, table: pd.DataFrame) -> dict[str, Any]:
    """Return the parts of the page that only an ablation has.

    ``results`` has at least one trial; ``table`` is that of `analysis.stats.effects.effects`.
    """
    rope = results.rope() or 0.0
    styles = arm_styles(results.arms, results.reference_arm)
    gallery = ablation_gallery(results, table, styles, rope)
    metric = results.metric_record()
    rows = words.effect_rows(table, metric)
    own = tuned_context(results, table, styles) if results.is_tuned else looks_context(results, table, styles)
    for row in rows if results.is_tuned else ():
        row["words"] += f"; {own['tuned']['words'][row['arm']]}"
    return own | {
        "summary": words.summary(table),
        "verdicts": rows,
        "effect_rows": rows,
        "checks": words.check_table(table, metric, results.replicate),
        "reference_row": reference_row(results),
        "effects_caption": f"{sentence_case(metric.label)} of each arm and its difference from the reference arm, "
        f"paired by {results.replicate}, {words.TABLE_NOTE}. An arm's mean is over its pairs, the reference arm's over "
        "all its completed trials.",
        "difference_unit": metric.difference,
        "correlations": correlation_sentence(table, results.replicate),
        "test_images": image_table(table, results.replicate),
        "factors": factor_table(results),
        "claims": words.claim_rows(results),
        "clean": clean_table(results),
        "landscapes": landscape_table(results),
        "reported": reported_gallery(results, styles).figures,
        "reference_note": _reference_note(results),
        "arms": arm_choices(styles) if gallery.figures else [],
        "pictures": gallery.figures,
        "limits": gallery.limits,
        "method": [
            *words.method(results, rope),
            *looks_method(results),
            *(tuned_method(results) if results.is_tuned else ()),
        ],
        "extra_facts": [
            ("Arms", str(len(results.arms))),
            (f"{sentence_case(results.replicate)}s", str(results.trials["seed"].nunique())),
            ("Verdicts about", metric.label),
            ("Epochs chosen by", results.metric_record(results.choose_by).label),
            ("Too small to matter", f"within {metric.amount(rope)}" if rope else "not set"),
        ],
    }


def reference_row(results: StudyResults) -> dict[str, Any]:
    """Return the reference arm's line of the table of effects."""
    seeds = seed_data(results.trials, results.metric)
    row = next(rows_of(mean_data(seeds[seeds["arm"] == results.reference_arm])))
    shown = results.metric_record().show(row.mean) if row.n else "–"
    return {"arm": results.reference_arm, "mean": shown, "n": row.n}


def factor_table(results: StudyResults) -> dict[str, Any] | None:
    """Return the analysis of variance of a factorial study as printed; None for other designs."""
    if results.spec is None or not results.spec.design.kind.endswith("factorial"):
        return None
    from analysis.stats.anova import anova  # statsmodels takes a fifth of a second to import

    try:
        found = anova(results)
    except StudyError:
        return None
    rows = [
        [row.effect, *_cells((row.df, ".0f"), (row.f, ".2f")), p_text(row.p_holm), *_cells((row.partial_omega2, ".3f"))]
        for row in rows_of(found.table)
    ]
    return {
        "caption": f"Analysis of variance of {results.metric_record().label} with the seed as a block (type II; "
        f"{found.residual_df} residual degrees of freedom); p by Holm over all effects.",
        "heads": ("Effect", "df", "F", "p (Holm)", "partial ω²"),
        "rows": rows,
        "notes": found.notes,
    }


def clean_table(results: StudyResults) -> dict[str, Any] | None:
    """Return each arm's mean figures on the training images without augmentation as printed; None without any."""
    shown = ("train_clean_loss", "train_clean_accuracy", "val_accuracy", "clean_accuracy_gap")
    if "train_clean_loss" not in results.trials or results.trials["train_clean_loss"].isna().all():
        return None
    trials = with_metric(results, "clean_accuracy_gap").trials
    metrics = [results.metric_record(name) for name in shown]
    means = {metric.name: mean_data(seed_data(trials, metric.name)).set_index("arm") for metric in metrics}
    return {
        "heads": ("Arm", "n", *(sentence_case(metric.label) for metric in metrics), "95 % interval of the gap"),
        "rows": [
            [
                arm,
                str(gap.n),
                *(_shown(metric, means[metric.name]["mean"][arm]) for metric in metrics),
                "–" if np.isnan(gap.low) else f"{metrics[-1].shows(gap.low)} to {metrics[-1].shows(gap.high)}",
            ]
            for arm, gap in ((str(row.arm), row) for row in rows_of(means["clean_accuracy_gap"].reset_index()))
        ],
    }


def _shown(metric: Metric, value: float) -> str:
    return "–" if np.isnan(value) else metric.show(value)


def landscape_table(results: StudyResults) -> dict[str, Any] | None:
    """Return each arm's measures of its loss landscapes as printed, means over trials; None without landscapes."""
    measures = landscape_measures(results).assign(arm=results.trials["arm"]).dropna(subset=["centre_loss"])
    if not len(measures):
        return None
    metrics = {name: LANDSCAPE_METRICS[name] for name in measures.columns.drop("arm")}
    rows = [
        [
            str(arm),
            str(len(of_arm)),
            *(_shown(metric, of_arm[name].mean()) for name, metric in metrics.items()),
        ]
        for arm, of_arm in measures.groupby("arm", sort=False)
    ]
    heads = ("Arm", "n", *(sentence_case(metric.label) for metric in metrics.values()))
    return {"heads": heads, "rows": rows, "note": _which_surface(results.landscape)}


def _which_surface(landscape: pd.DataFrame) -> str:
    """Return a sentence about which of several surfaces the measures are of; "" where there is one."""
    models, surface = landscape.groupby("surface")["digest"].nunique(), common_surface(landscape)
    count = f"{models[surface]} of {landscape['digest'].nunique()} models have"
    return f"The store has several surfaces; the measures are of {surface}, which {count}." if len(models) > 1 else ""


def _cells(*values: tuple[float, str]) -> list[str]:
    return ["–" if np.isnan(value) else f"{value:{shape}}" for value, shape in values]


def _reference_note(results: StudyResults) -> str:
    reference = results.spec.reference if results.spec is not None else None
    return "" if reference is None else f"Source {reference.source} {reference.table}".strip() + f". {reference.note}"
