"""The task of a user's own training function: a generator that yields metrics for each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search_spaces.config.base import Config
from search_spaces.config.function import FunctionConfig
from search_spaces.study import StudySpec
from tune_app.tasks.base import NO_DATA, EpochReport, TrialSetup
from tune_app.user_code import CodeSource


class FunctionTask:
    """A user's training function. The trials share nothing but the code."""

    trainer = "tune_app.tasks.function_run"

    def prepare(self, spec: StudySpec, code: CodeSource) -> dict[str, Any]:
        """Return nothing: the function reads its own data."""
        return {}

    def fingerprint(self, config: Config, shared: Mapping[str, Any]) -> str:
        """Return the placeholder of data that is not known."""
        return NO_DATA

    def notes(self, spec: StudySpec, shared: Mapping[str, Any]) -> list[str]:
        """Return nothing: only the function knows what its arguments mean."""
        return []

    def plan_shared(self, spec: StudySpec, code: CodeSource) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def plan_notes(self, spec: StudySpec, shared: Mapping[str, Any]) -> list[str]:
        """Return nothing."""
        return []

    def shape(self, config: Config) -> str:
        """Return all that determines the training, since any argument may change its time."""
        return config.model_copy(update={"seed": 0}).digest()

    def estimate(self, config: Config, shared: Mapping[str, Any], cpus: float, gpus: float) -> float | None:
        """Return None: only the function knows how long it takes."""
        return None

    def train(self, config: Config, shared: Mapping[str, Any], setup: TrialSetup) -> Iterator[EpochReport]:
        """Run the function and yield each epoch, the epochs of the checkpoint first."""
        from tune_app.tasks.function_run import FunctionRun  # imports torch, which the driver does without
        from tune_app.training.hardware import set_threads

        assert isinstance(config, FunctionConfig)
        set_threads(max(1, int(setup.cpus)))
        run = FunctionRun(config, setup)
        try:
            yield from run.reports()
        except Exception as error:
            run.note_lines(error)
            raise
        finally:
            run.close()
