"""One Ray Tune run: jobs from a searcher, their reports to the recorder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig

from tune_app.data import ImageArrays
from tune_app.tuning.progress import Progress
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.session import interruptible, noise_to
from tune_app.tuning.store.writer import ResultsStore
from tune_app.tuning.trainable import TrialSettings

LOST_PROCESSES = 20
"""How often a trial is started again after its process or node was lost, or did not come to train. Apart from a study's
``max_failures``: a preempted node is no fault of the trial's, but a trial that kills its process each time has to end
somewhere."""


@dataclass(frozen=True)
class Tuning:
    """What the Ray Tune runs of a study share. ``pending`` is how many trials may wait for a place.

    ``callbacks`` hear each report before the recorder takes its rows out.
    """

    trainable: type[tune.Trainable]
    sources: Mapping[str, ImageArrays]
    settings: TrialSettings
    recorder: Recorder
    progress: Progress
    store: ResultsStore
    pending: int
    callbacks: tuple[tune.Callback, ...] = ()

    def fit(self, searcher: Any, total: int, scheduler: Any, gpus: float) -> None:
        """Train up to ``total`` jobs of a searcher, each with ``gpus``; Ctrl-C or SIGTERM interrupts the recorder.

        Ray keeps its own record of the run in a scratch folder that nothing is read from: the store is the truth.
        """
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.pending)
        trainable = tune.with_resources(
            tune.with_parameters(self.trainable, sources=self.sources, settings=self.settings),
            {"cpu": self.settings.cpus, "gpu": gpus},
        )
        with self.store.scratch() as scratch:
            tuner = tune.Tuner(
                trainable,
                tune_config=TuneConfig(
                    search_alg=searcher,
                    scheduler=scheduler,
                    num_samples=total,
                    reuse_actors=True,
                    trial_name_creator=lambda trial: str(trial.trial_id),
                    trial_dirname_creator=lambda trial: str(trial.trial_id),
                ),
                run_config=RunConfig(
                    name="tune",
                    storage_path=scratch,
                    callbacks=[*self.callbacks, self.recorder, self.progress],
                    failure_config=FailureConfig(max_failures=LOST_PROCESSES),
                    checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    stop=_Stopper(self.recorder),
                    verbose=0,
                ),
            )
            with noise_to(self.store.log_file), interruptible(self.recorder.interrupt):
                tuner.fit()


class _Stopper(tune.Stopper):
    """Stops everything when the recorder says that the study is plainly broken."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._recorder.should_stop
