"""The vocabulary: trial configs, search spaces, designs, studies and the results store's schema.

The names below are the public ones; they are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces._lazy import importer

if TYPE_CHECKING:
    from search_spaces.catalog import CATALOG
    from search_spaces.config.trial import TrialConfig
    from search_spaces.domains import Choice, IntRange, LogUniform, Uniform
    from search_spaces.errors import StudyError
    from search_spaces.plan import Arm, Cell, Plan, make_plan
    from search_spaces.space import SearchSpace
    from search_spaces.study import StudySpec
    from search_spaces.study_files import read_study, ready_studies, study_from, trial_from
    from search_spaces.study_schema import json_schema

__all__ = [
    "CATALOG",
    "Arm",
    "Cell",
    "Choice",
    "IntRange",
    "LogUniform",
    "Plan",
    "SearchSpace",
    "StudyError",
    "StudySpec",
    "TrialConfig",
    "Uniform",
    "json_schema",
    "make_plan",
    "read_study",
    "ready_studies",
    "study_from",
    "trial_from",
]

__getattr__ = importer(
    __name__,
    {
        "Arm": "search_spaces.plan",
        "CATALOG": "search_spaces.catalog",
        "Cell": "search_spaces.plan",
        "Choice": "search_spaces.domains",
        "IntRange": "search_spaces.domains",
        "LogUniform": "search_spaces.domains",
        "Plan": "search_spaces.plan",
        "SearchSpace": "search_spaces.space",
        "StudyError": "search_spaces.errors",
        "StudySpec": "search_spaces.study",
        "TrialConfig": "search_spaces.config.trial",
        "Uniform": "search_spaces.domains",
        "json_schema": "search_spaces.study_schema",
        "make_plan": "search_spaces.plan",
        "read_study": "search_spaces.study_files",
        "ready_studies": "search_spaces.study_files",
        "study_from": "search_spaces.study_files",
        "trial_from": "search_spaces.study_files",
    },
)
