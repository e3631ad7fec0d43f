"""Tasks: what a study trains. Image classification is built in; a user's own training function is another."""

from tune_app.tasks.base import EpochReport, Task, TrialSetup
from tune_app.tasks.registry import task_of

__all__ = ["EpochReport", "Task", "TrialSetup", "task_of"]
