"""The vocabulary: trial configs, search spaces, designs, studies and the results store's schema."""

from search_spaces.catalog import CATALOG
from search_spaces.config.trial import TrialConfig
from search_spaces.domains import Choice, IntRange, LogUniform, Uniform
from search_spaces.errors import StudyError
from search_spaces.json_schema import json_schema
from search_spaces.plan import Arm, Cell, Plan, make_plan
from search_spaces.space import SearchSpace
from search_spaces.study import StudySpec
from search_spaces.study_files import read_study, ready_studies, study_from, trial_from

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
