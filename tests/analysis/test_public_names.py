"""The public names of `analysis`, imported only when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import analysis

NAMES = {"StudyResults", "claims", "compare_differences", "effects", "load_study", "write_report"}


def test_the_public_names_are_these():
    assert set(analysis.__all__) == NAMES
    assert all(callable(getattr(analysis, name)) for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'effect'"):
        _ = analysis.effect


def test_importing_the_package_imports_no_library():
    script = "import sys, analysis; print([m for m in ('pandas', 'matplotlib', 'scipy', 'optuna') if m in sys.modules])"
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout.strip() == "[]"
