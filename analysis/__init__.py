"""Reads a results store and says what it shows: effects, plots, a report.

Computing and drawing are apart; nothing here knows torch or ray.
"""

from __future__ import annotations

from analysis.store.load import StudyResults, load_study

__all__ = ["StudyResults", "load_study"]
