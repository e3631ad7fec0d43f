"""Which task a study trains."""

from __future__ import annotations

from search_spaces.study import StudySpec
from tune_app.tasks.base import Task


def task_of(spec: StudySpec) -> Task:
    """Return the task of a study: image classification, or the user's training function that it names."""
    if spec.task is not None:
        from tune_app.tasks.function import FunctionTask

        return FunctionTask()
    from tune_app.tasks.image_classification import ImageClassification

    return ImageClassification()
