"""Ablations and hyperparameter searches of PyTorch trainings: the Python API.

``run`` and ``plan`` take a study file, a ready study's name, plain data or a `StudySpec`; `Client` talks to a
`tune-app serve`. Names are imported when they are first used, so that ``import tune_app`` takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces._lazy import importer

if TYPE_CHECKING:
    from tune_app.api import confirm, plan, run
    from tune_app.studies import read_study
    from tune_app.tasks.context import Context
    from tune_app.web.client import Client

_PLACES = {
    "Client": "tune_app.web.client",
    "Context": "tune_app.tasks.context",
    "confirm": "tune_app.api",
    "plan": "tune_app.api",
    "read_study": "tune_app.studies",
    "run": "tune_app.api",
}
__all__ = ["Client", "Context", "confirm", "plan", "read_study", "run"]
__getattr__ = importer(__name__, _PLACES)
