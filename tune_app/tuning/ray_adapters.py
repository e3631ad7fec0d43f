"""Our searchers and callbacks as Ray Tune wants them, and the actors of its trials."""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.tune.schedulers import TrialScheduler
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

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the searcher, which knows the whole run: Ray saves what a run was given, and nothing reads it."""
        return {}


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


class Actors:
    """Knows the Ray actor of each trial, also of one that is being started, which no callback is given.

    Ray Tune hands its controller to schedulers only.
    """

    def __init__(self, scheduler: TrialScheduler) -> None:
        self._controller: Any = None
        on_trial_add = scheduler.on_trial_add

        def noted(controller: Any, trial: Any) -> None:
            self._controller = controller
            on_trial_add(controller, trial)

        scheduler.on_trial_add = noted  # type: ignore[method-assign, assignment]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be pickled: Ray saves its schedulers."""
        return {}

    def of(self, trial: Any) -> Any | None:
        """Return the actor of a trial, None where Ray has not begun to start one."""
        tracked = self._controller and self._controller._trial_to_actor.get(trial)
        found = tracked and self._controller._actor_manager._live_actors_to_ray_actors_resources.get(tracked)
        return found[0] if found else None
