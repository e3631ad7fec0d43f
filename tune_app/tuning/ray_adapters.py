"""Our searchers and callbacks as Ray Tune wants them."""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.tune.search import Searcher as RaySearcher

from tune_app.tuning.queues import Searcher


class Proposals(RaySearcher):
    """A Ray searcher that hands on what one of ours proposes."""

    def __init__(self, searcher: Searcher, mode: str) -> None:
        super().__init__(metric="objective", mode=mode)
        self._searcher = searcher

    def suggest(self, trial_id: str) -> Any:
        """Return the next job, or FINISHED."""
        return self._searcher.suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hand on a report."""
        self._searcher.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hand on how a trial ended."""
        self._searcher.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the results store says what is left to do."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class Forwarded(tune.Callback):
    """A Ray callback that hands on each event to an object which has a method for it."""

    EVENTS = (
        "on_trial_start",
        "on_trial_result",
        "on_trial_complete",
        "on_trial_error",
        "on_trial_recover",
        "on_step_end",
        "on_experiment_end",
    )

    def __init__(self, to: object) -> None:
        for event in self.EVENTS:
            if hasattr(to, event):
                setattr(self, event, getattr(to, event))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be pickled: Ray saves its callbacks."""
        return {}
