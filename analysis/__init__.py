"""Reads a results store and reports what it shows: effects, plots, a report.

Computing and drawing are separate; nothing here imports torch or ray. The names below are the public ones. They are
imported when they are first used, so that ``import analysis`` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces._lazy import importer

if TYPE_CHECKING:
    from analysis.report.study import write_report
    from analysis.stats.claims import claims
    from analysis.stats.effects import effects
    from analysis.stats.paired import compare_differences
    from analysis.store.load import StudyResults, load_study

__all__ = ["StudyResults", "claims", "compare_differences", "effects", "load_study", "write_report"]

_MODULES = {
    "StudyResults": "analysis.store.load",
    "claims": "analysis.stats.claims",
    "compare_differences": "analysis.stats.paired",
    "effects": "analysis.stats.effects",
    "load_study": "analysis.store.load",
    "write_report": "analysis.report.study",
}
__getattr__ = importer(__name__, _MODULES)
