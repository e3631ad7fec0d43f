"""What the report of a sequential study shows in addition: where and why each arm stopped, and its path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.looks import draw_paths
from analysis.plots.style import Styles
from analysis.report.pictures import Gallery
from analysis.stats.added_seeds import added_seeds_words
from analysis.stats.course import Course
from analysis.stats.looks import looks_table, path_data
from analysis.stats.stopping import course_of
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.metrics import Metric
from search_spaces.rounds import Round

MOST_DRAWN = 12
_STATES = {"futile": "futile", "continue": "not yet decided"}


def looks_context(results: StudyResults, effects: pd.DataFrame, styles: Styles) -> dict[str, Any]:
    """Return the part of the page that only a sequential study has; nothing for any other.

    ``effects``: the table of `analysis.stats.effects.effects`.
    """
    course = course_of(results)
    if course is None or not len(course.decisions):
        return {}
    metric, table = results.metric_record(), looks_table(results, course)
    withheld = set(effects.loc[effects["withheld"] != "", "arm"])
    gallery, paths = Gallery(prefix="looks"), path_data(course)
    drawn = [arm for arm in course.decisions if arm in styles][:MOST_DRAWN]
    if len(paths):
        gallery.add(draw_paths(paths[paths["arm"].isin(drawn)], styles, metric=metric))
    more = f" Drawn are the first {MOST_DRAWN} arms." if len(drawn) < len(course.decisions) else ""
    return {
        "looks": {
            "sentence": _progress(course) + more,
            "caption": f"Where each arm stopped, and its difference in {metric.difference or metric.label} from "
            f"“{results.reference_arm}”: the plain mean, and corrected for stopping early (median-unbiased; – where no "
            "correction is known).",
            "heads": ("Arm", "Outcome", "Look", "Seeds", "Difference", "Corrected"),
            "rows": [_row(row, course, metric, row.arm in withheld) for row in rows_of(table)],
            "pictures": gallery.figures,
        }
    }


def _row(row: Any, course: Course, metric: Metric, is_withheld: bool) -> list[str]:
    def signed(value: float) -> str:
        return "–" if not np.isfinite(value) else f"{value * metric.scale:+.{metric.digits}f}".replace("-", "−")

    return [
        row.arm,
        f"stopped as {row.state}, verdict withheld" if is_withheld else _STATES.get(row.state, row.state),
        f"{row.look} of {row.looks}",
        f"{row.seeds} of {course.plan.looks[-1]}",
        signed(row.difference),
        "–" if is_withheld else signed(row.corrected),
    ]


def _progress(course: Course) -> str:
    planned = (len(course.wanted)) * course.plan.looks[-1]
    wanted = sum(course.wanted.values())
    looks = ", ".join(map(str, course.plan.looks))
    if not course.complete:
        return f"{course.reached} of {len(course.plan.looks)} looks are made (at {looks} seeds); the study goes on."
    return (
        f"Looks were planned at {looks} seeds. The arms took {wanted} of the {planned} trainings of a study with all "
        "seeds in all arms."
    )


def looks_method(results: StudyResults) -> list[tuple[str, str]]:
    """Return what describes how seeds were added: the rule of a sequential study, and the rounds of any."""
    found = []
    if len(results.rounds) > 1:
        found.append(("Rounds", "; ".join(_round(one) for one in results.rounds) + ". " + _error(results)))
    return [*_rule(results), *found]


def _round(one: Round) -> str:
    how = f"by rule, looks at {', '.join(map(str, one.looks))}" if one.looks else "all at once"
    return f"{one.planned_at or 'time not known'}: {len(one.seeds)} seeds, {how}"


def _error(results: StudyResults) -> str:
    words = added_seeds_words(results)
    return words[:1].upper() + words[1:] + "." if words else ""


def _rule(results: StudyResults) -> list[tuple[str, str]]:
    course = course_of(results)
    if course is None:
        return []
    plan = course.plan
    futility = f"{plan.futility:.0%}".replace("%", " %")
    stop = f" An arm also stops where the predictive probability of a decision with all seeds is below {futility}."
    return [
        (
            "Seeds added by rule",
            f"Group-sequential, with alpha spending ({plan.spending.replace('_', ' ')}; Lan and DeMets 1983) on the t "
            "scale and Holm's method over the arms (Maurer and Bretz 2013): the error is 5 % over all arms and looks. "
            "The 95 % intervals are not adjusted for the looks; p-values of a fixed number of seeds do not apply."
            + (stop if plan.futility else ""),
        )
    ]
