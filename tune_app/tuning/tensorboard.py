"""TensorBoard event files beside the store, where they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search_spaces.errors import StudyError
from tune_app.tuning.jobs import Job
from tune_app.tuning.store.writer import ResultsStore

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


class TensorBoard:
    """Writes each column of the epochs table as a scalar, one run for each trial: ``tensorboard/<arm>, seed <n>/``.

    Raises StudyError where tensorboardX is missing or the store is not a local folder.
    """

    def __init__(self, store: ResultsStore) -> None:
        if not store.folder.is_local:
            raise StudyError("`--tensorboard` writes local files, but `--results` is remote; leave one of them out")
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise StudyError("`--tensorboard` needs tensorboardX: pip install 'tune-app[tensorboard]'") from None
        self._folder = store.folder / "tensorboard"
        self._writers: dict[str, SummaryWriter] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Write the epochs of a report; must come before the recorder, which takes them out of it."""
        from tensorboardX import SummaryWriter

        if trial.trial_id not in self._writers:
            job = Job.from_json(trial.config["job"])
            name = f"{job.arm}, seed {job.config.seed}".replace("/", "_")
            self._writers[trial.trial_id] = SummaryWriter(self._folder.path(name))
        for row in result["epochs"]:
            for column, value in row.items():
                if column != "epoch" and value is not None:
                    self._writers[trial.trial_id].add_scalar(column.replace("_", "/", 1), value, row["epoch"])
        if result["done"]:
            self._close(trial.trial_id)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Close what trials that were stopped early left open."""
        for trial_id in list(self._writers):
            self._close(trial_id)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be pickled: Ray saves its callbacks."""
        return {}

    def _close(self, trial_id: str) -> None:
        self._writers.pop(trial_id).close()
