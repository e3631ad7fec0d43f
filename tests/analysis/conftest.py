"""Invented stores for the tests of analysis, and the repository root on the path so that `bench` can be imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from analysis.store.load import StudyResults, load_study
from bench.make_store import Truth, write_store

TRUTH = Truth({"model.norm=none": -0.02, "batch_size=32": 0.01})


@pytest.fixture(scope="session")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ablation: 4 arms x 5 seeds; `none` is 2 points worse, batch size 32 one point better."""
    return write_store(tmp_path_factory.mktemp("ablation"), truth=TRUTH)


@pytest.fixture(scope="session")
def results(ablation: Path) -> StudyResults:
    return load_study(ablation)
