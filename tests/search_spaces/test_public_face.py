from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import analysis
import search_spaces
import tune_app

NAMES = {
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
}


def test_public_names_are_these():
    # Others import these names: adding one is a promise, taking one away breaks them.
    assert set(search_spaces.__all__) == NAMES
    assert all(getattr(search_spaces, name).__doc__ for name in NAMES)


@pytest.mark.parametrize("package", [search_spaces, analysis, tune_app], ids=lambda package: package.__name__)
def test_a_module_has_no_public_name_of_its_package(package):
    # Importing it would put the module in the place of the name, which is imported when it is first used.
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package.__all__)


def test_importing_and_planning_loads_nothing_heavy():
    code = (
        "import sys, search_spaces; search_spaces.make_plan(search_spaces.read_study('quickstart'));"
        "print([m for m in ('torch','torchvision','ray','optuna','scipy','pandas','matplotlib','tune_app','analysis')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_public_face_is_enough_for_a_small_study():
    spec = search_spaces.study_from({"name": "x", "factors": ["depth"], "seeds": 2})
    plan = search_spaces.make_plan(spec)
    assert len(plan.cells) == 2 * len(plan.arms)
    assert search_spaces.trial_from(["seed=1"]).seed == 1
