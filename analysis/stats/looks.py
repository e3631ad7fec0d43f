"""What the looks of a sequential study say about each arm, in figures and in words.

Where an arm stopped early, its plain difference is too far from 0 on average: `corrected_estimate` gives the median-
unbiased one where there is one, else the sentence says that it is not corrected.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from analysis.stats.course import Course
from analysis.stats.paired import Floats
from analysis.stats.pairs import metric_table
from analysis.stats.sequential import ArmDecision, corrected_estimate
from analysis.store.load import StudyResults
from search_spaces.metrics import Metric


def verdict_of(decision: ArmDecision) -> str:
    """Return the verdict of the table of effects: an arm that is not decided is undecided."""
    return decision.state if decision.state in ("better", "worse", "equivalent") else "undecided"


def looks_table(results: StudyResults, course: Course, withheld: Collection[str] = ()) -> pd.DataFrame:
    """Return for each arm where and why it stopped; ``withheld``: arms whose verdict was withheld afterwards.

    Columns: arm, state (better, worse, equivalent, futile, undecided or continue), look (number of the last one, from
    1), looks (of the plan), seeds (at that look), difference (the plain mean, arm minus reference), corrected (median-
    unbiased; NaN where there is none), words.
    """
    values = metric_table(results).reindex(columns=list(results.spec.seeds) if results.spec else None)
    reference = values.loc[results.reference_arm]
    rows = []
    for arm, decision in course.decisions.items():
        present = arm in values.index
        differences: Floats = np.asarray(values.loc[arm] - reference if present else [], dtype=np.float64)
        corrected = corrected_estimate(differences, decision, course.plan, len(course.decisions))
        row = {"arm": arm, "state": decision.state, "look": len(decision.path), "looks": len(course.plan.looks)}
        row |= {"seeds": decision.seeds if decision.path else 0, "difference": decision.estimate}
        if arm in withheld:
            words = _withheld_words(decision, course)
        else:
            words = looks_words(decision, course, corrected, results.metric_record())
        rows.append(row | {"corrected": corrected, "words": words})
    return pd.DataFrame(rows)


def _withheld_words(decision: ArmDecision, course: Course) -> str:
    """Return where an arm stopped, of one whose verdict was withheld for what looks do not see."""
    return (
        f"stopped as {decision.state} at look {len(decision.path)} of {len(course.plan.looks)}, with {decision.seeds} "
        f"of {course.plan.looks[-1]} seeds; the looks do not see why the verdict is withheld"
    )


def looks_words(decision: ArmDecision, course: Course, corrected: float, metric: Metric) -> str:
    """Return in words at which look and why an arm stopped, and what that does to its difference."""
    looks, look = course.plan.looks, len(decision.path)
    where = f"look {look} of {len(looks)}, with {decision.seeds} of {looks[-1]} seeds"
    match decision.state:
        case "continue" if not look:
            return f"not yet decided: the first of {len(looks)} looks is at {looks[0]} seeds"
        case "continue":
            return f"not yet decided: {where}, was not the last"
        case "futile":
            chance = f"{course.plan.futility:.0%}".replace("%", " %")
            return (
                f"stopped at {where}: the chance that all seeds would decide was below {chance}; "
                "the difference is not corrected for stopping"
            )
        case "undecided":
            return f"not decided at the last of {len(looks)} looks"
    if look == len(looks):
        return f"decided at the last of {len(looks)} looks"
    if np.isfinite(corrected):
        shown = f"{corrected * metric.scale:+.{metric.digits}f} {metric.difference}".replace("-", "−").rstrip()
        return f"decided at {where}; corrected for stopping early (median-unbiased), the difference is {shown}"
    return f"decided at {where}; the difference is not corrected for stopping early"


def path_data(course: Course) -> pd.DataFrame:
    """Return the path of each arm against its boundary: a row for each arm and look.

    Columns: arm, state (at its last look), look (from 1), seeds, t (of the paired differences, positive where the arm
    is better), critical (the |t| from which it is better or worse; infinite where nothing can be spent yet).
    """
    return pd.DataFrame(
        [
            {"arm": arm, "state": one.state, "look": look, "seeds": seeds, "t": t, "critical": critical}
            for arm, one in course.decisions.items()
            for look, (seeds, t, critical) in enumerate(one.path, 1)
        ],
        columns=["arm", "state", "look", "seeds", "t", "critical"],
    )
