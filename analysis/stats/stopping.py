"""How far a sequential study is by its stored results, and which of them count.

An arm that stopped is judged by the seeds that it had at its look; results beyond are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.stats.collapse import Bools
from analysis.stats.course import Course, study_course
from analysis.store._rows import rows_of
from analysis.store.load import StudyResults
from search_spaces.plan import make_plan


def course_of(results: StudyResults) -> Course | None:
    """Return how far a sequential study is; None for any other."""
    spec = results.spec
    if spec is None or spec.sequential is None or spec.metric not in results.trials.columns:
        return None
    rows = rows_of(results.trials[["digest", "status", spec.metric]].rename(columns={spec.metric: "value"}))
    ended = {row.digest: {spec.metric: row.value} if row.status == "completed" else {} for row in rows}
    return study_course(spec, make_plan(spec), ended)


def wanted_seeds(results: StudyResults, course: Course | None, arms: Sequence[str], seeds: Sequence[int]) -> Bools:
    """Return where an arm needs a seed, shape (arms, seeds): everywhere in a study that is not sequential."""
    if course is None or results.spec is None:
        return np.ones((len(arms), len(seeds)), bool)
    place = {seed: number for number, seed in enumerate(results.spec.seeds)}
    numbers = np.array([place[seed] for seed in seeds], int)
    most = np.array([course.wanted.get(arm, 0) for arm in arms], int)
    wanted: Bools = numbers < most[:, None]
    return wanted
